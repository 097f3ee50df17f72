import { fileURLToPath } from 'node:url';
import { makeBuilderBundle } from './builder-bundle.js';

/** Where programs of the build look for the builder: `dist/builder`. */
const directory = fileURLToPath(new URL('../../builder', import.meta.url));

// Part of `npm run build`.
const isNew = await makeBuilderBundle({ directory });
process.stdout.write(`${directory}: ${isNew ? 'made' : 'unchanged'}\n`);
