import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readTargetFile, removeTargetFile, targetFilePath, writeTargetFile } from '../../lib/config/target-file.js';
import { rejectionOf } from '../support/rejection.js';

describe('the target file', () => {
  let home: string;
  let path: string;
  const target = { url: 'http://127.0.0.1:8181', token: 'secret', router: 'http://127.0.0.1:8080' };

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'target-spec-'));
    path = targetFilePath({ HOME: home });
  });

  afterEach(() => rm(home, { recursive: true, force: true }));

  it('lies in the runtime directory of the user, else in the home directory', () => {
    expect(targetFilePath({ HOME: '/home/u', XDG_RUNTIME_DIR: '/run/user/1' })).to.equal(
      '/run/user/1/isthmus/target.json',
    );
    expect(targetFilePath({ HOME: '/home/u' })).to.equal('/home/u/.isthmus/target.json');
  });

  it('is read as it was written, by its user only', async () => {
    await writeTargetFile(target, path);
    expect(await readTargetFile(path)).to.deep.equal(target);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
  });

  it('may be missing, but not malformed', async () => {
    expect(await readTargetFile(path)).to.equal(undefined);
    await writeTargetFile(target, path);
    await writeFile(path, '{"url": 1}');
    expect((await rejectionOf(readTargetFile(path))).message).to.equal(`${path} is no target file`);
  });

  it('is removed only by the program that it names', async () => {
    await writeTargetFile(target, path);
    await removeTargetFile('http://127.0.0.1:9', path);
    expect(await readTargetFile(path)).to.deep.equal(target);
    await removeTargetFile(target.url, path);
    expect(await readTargetFile(path)).to.equal(undefined);
    await removeTargetFile(target.url, path);
  });
});
