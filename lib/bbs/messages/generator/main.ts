import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSchema } from './schema.js';
import { printModule } from './typescript.js';

/** Writes `models.ts` beside the `.proto` files, where it is not there already with the same content. */
const directory = fileURLToPath(new URL('..', import.meta.url));
const target = join(directory, 'models.ts');
const text = printModule(readSchema(directory));

if (!existsSync(target) || readFileSync(target, 'utf8') !== text) {
  // At once as a whole: somebody may be reading it.
  const draft = `${target}.${process.pid}`;
  writeFileSync(draft, text);
  renameSync(draft, target);
}
