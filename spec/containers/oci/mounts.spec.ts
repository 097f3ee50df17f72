import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { listMounts, unmountUnlessUsed } from '../../../lib/containers/oci/mounts.js';
import { runCommand } from '../../../lib/process/command.js';

describe('unmounting what nobody uses', () => {
  let directory: string;
  let inner: string;

  const mount = (target: string) => runCommand('mount', ['-t', 'tmpfs', 'mounts-spec', target]);
  const mounted = async () => {
    const paths = (await listMounts()).map(({ path }) => path);
    return [directory, inner].map((path) => paths.includes(path));
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mounts-'));
    inner = join(directory, 'inner');
    await mount(directory);
  });

  afterEach(() => rm(directory, { recursive: true }));

  it('leaves alone what has got another mount in it meanwhile', async () => {
    await mkdir(inner);
    await mount(inner);
    await unmountUnlessUsed(directory);
    expect(await mounted()).to.deep.equal([true, true]);
    await unmountUnlessUsed(inner);
    await unmountUnlessUsed(directory);
    expect(await mounted()).to.deep.equal([false, false]);
  });

  it('says nothing when it is not mounted any more', async () => {
    await unmountUnlessUsed(directory);
    await unmountUnlessUsed(directory);
    expect(await mounted()).to.deep.equal([false, false]);
  });
});
