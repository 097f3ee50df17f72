import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeBuilderBundle } from '../lifecycle/bundle/builder-bundle.js';
import { bundlePrograms } from './bundle.js';
import { findPrograms } from './programs.js';

const projectDirectory = fileURLToPath(new URL('../..', import.meta.url));
const build = join(projectDirectory, 'dist');

// `npm run build`, after `npm run messages`.
await mkdir(build, { recursive: true });
// The project's own says that files are ES modules.
await writeFile(join(build, 'package.json'), '{ "type": "commonjs" }\n');
const programs = await findPrograms(projectDirectory);
await Promise.all([
  bundlePrograms({ projectDirectory, programs }),
  makeBuilderBundle({ directory: join(build, 'builder') }),
]);
