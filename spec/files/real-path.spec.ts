import { mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { realPathOf } from '../../lib/files/real-path.js';

describe('the real path of a file', () => {
  let directory: string;

  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'real-path-')));
    symlinkSync('.', join(directory, 'link'));
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  it('has no links in it, whether the file is there or not', () => {
    expect(realPathOf(join(directory, 'link'))).to.equal(directory);
    expect(realPathOf(join(directory, 'link/not/there'))).to.equal(join(directory, 'not/there'));
  });

  it('is not told where links lead in a circle', () => {
    symlinkSync('circle', join(directory, 'circle'));
    expect(() => realPathOf(join(directory, 'circle/file'))).to.throw('ELOOP');
  });
});
