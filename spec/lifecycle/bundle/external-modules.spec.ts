import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { externalModules, packageDirectories } from '../../../lib/lifecycle/bundle/external-modules.js';

describe('Modules that Node.js has outside', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'external-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  it('are found by the paths in its program and its library, each once', async () => {
    const [node, library] = [join(directory, 'node'), join(directory, 'libnode.so')];
    const undici = '/usr/share/nodejs/undici/undici-fetch.js';
    await writeFile(node, `\x7fELF\0/usr/share/nodejs/acorn/dist/acorn.js\0${undici}\0/usr/share/nodejs/\0`);
    await writeFile(library, `${undici}\0see /usr/share/nodejs/x.js for more\0/usr/share/nodejs/a/b.cjs`);
    const modules = await externalModules([node, library]);
    expect(modules).to.deep.equal(['/usr/share/nodejs/a/b.cjs', '/usr/share/nodejs/acorn/dist/acorn.js', undici]);
    expect(packageDirectories(modules)).to.deep.equal([
      '/usr/share/nodejs/a',
      '/usr/share/nodejs/acorn',
      '/usr/share/nodejs/undici',
    ]);
  });
});
