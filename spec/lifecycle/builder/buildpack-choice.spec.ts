import { expect } from 'chai';
import { chooseBuildpack } from '../../../lib/lifecycle/builder/buildpack-choice.js';

describe('the choice of a buildpack', () => {
  it('is detection when the message wishes nothing', () => {
    expect(chooseBuildpack({})).to.deep.equal({ kind: 'detect' });
    expect(chooseBuildpack({ buildpack: null, buildpack_git_url: '', buildpack_key: null })).to.deep.equal({
      kind: 'detect',
    });
  });

  it('is the installed one with the wished key', () => {
    expect(chooseBuildpack({ buildpack_key: 'ruby-1a2b' })).to.deep.equal({ kind: 'named', key: 'ruby-1a2b' });
  });

  it('takes a URL rather than a key', () => {
    expect(chooseBuildpack({ buildpack_git_url: 'https://h/b.git', buildpack_key: 'ruby' })).to.deep.equal({
      kind: 'custom',
      url: 'https://h/b.git',
    });
  });

  it('takes `buildpack` rather than `buildpack_git_url`', () => {
    expect(chooseBuildpack({ buildpack: 'https://h/a.git', buildpack_git_url: 'https://h/b.git' })).to.deep.equal({
      kind: 'custom',
      url: 'https://h/a.git',
    });
  });
});
