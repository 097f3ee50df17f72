import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadOrCreateSecrets } from '../../../lib/mini-cc/assembly/secrets.js';
import { rejectionOf } from '../../support/rejection.js';

describe('the secrets of an installation', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'secrets-spec-'));
    path = join(directory, 'secrets.json');
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('are made once, each another one, for their user only', async () => {
    const secrets = await loadOrCreateSecrets(path);
    expect(new Set(Object.values(secrets)).size).to.equal(5);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    expect(await loadOrCreateSecrets(path)).to.deep.equal(secrets);
  });

  it('get what a file of an older version lacks, and keep the rest', async () => {
    const old = { client_token: 'c'.repeat(48), staging_password: 's'.repeat(48), space_guid: 'a-space' };
    await writeFile(path, JSON.stringify(old));
    const secrets = await loadOrCreateSecrets(path);
    expect(secrets).to.deep.include(old);
    expect(secrets.bulk_password).to.have.length(48);
    expect(JSON.parse(await readFile(path, 'utf8'))).to.deep.equal(secrets);
  });

  it('are not replaced when their file cannot be read', async () => {
    await writeFile(path, '{"client_token":');
    expect((await rejectionOf(loadOrCreateSecrets(path))).message).to.equal(`${path} is malformed`);
    expect(await readFile(path, 'utf8')).to.equal('{"client_token":');
  });
});
