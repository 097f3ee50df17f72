import { nameSourcesInStacks } from './source-positions.js';

// Imported by the build, before all else, into what it bundles.
nameSourcesInStacks();
