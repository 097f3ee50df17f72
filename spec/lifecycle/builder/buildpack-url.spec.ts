import { expect } from 'chai';
import { parseBuildpackUrl, withoutCredentials } from '../../../lib/lifecycle/builder/buildpack-url.js';
import { BuildpackFetchError } from '../../../lib/lifecycle/builder/errors.js';

describe("a custom buildpack's URL", () => {
  it('names the directory after the last part of its path, without the extension', () => {
    expect(parseBuildpackUrl('https://example.com/a/custom-buildpack.git')).to.deep.equal({
      kind: 'git',
      url: 'https://example.com/a/custom-buildpack.git',
      name: 'custom-buildpack',
    });
    expect(parseBuildpackUrl('git://example.com/a/plain/').name).to.equal('plain');
  });

  it('gives branch, tag or commit in its fragment', () => {
    const { url, ref } = parseBuildpackUrl('https://example.com/b.git#release/v1');
    expect(url).to.equal('https://example.com/b.git');
    expect(ref).to.equal('release/v1');
  });

  it('has no branch when the fragment is empty', () => {
    expect(parseBuildpackUrl('https://example.com/b.git#')).to.not.have.property('ref');
  });

  it('may be spelled as ssh spells it', () => {
    expect(parseBuildpackUrl('git@example.com:me/ruby-buildpack.git#dev')).to.deep.equal({
      kind: 'git',
      url: 'git@example.com:me/ruby-buildpack.git',
      ref: 'dev',
      name: 'ruby-buildpack',
    });
  });

  it('means an archive when an HTTP path ends in .zip, whatever its query', () => {
    expect(parseBuildpackUrl('https://example.com/ruby.zip').kind).to.equal('zip');
    expect(parseBuildpackUrl('http://example.com/ruby.ZIP?token=x').kind).to.equal('zip');
    expect(parseBuildpackUrl('git://example.com/ruby.zip').kind).to.equal('git');
    expect(parseBuildpackUrl('https://example.com/ruby?file=x.zip').kind).to.equal('git');
  });

  for (const url of [
    'https://example.com/',
    'https://example.com/..',
    'https://example.com/%2e%2e',
    '--upload-pack=touch /tmp/x',
    '-x@host:path',
    'https://example.com/b.git#--orphan',
    '/etc',
    'no url at all',
  ]) {
    it(`is refused when it is ${url}`, () => {
      expect(() => parseBuildpackUrl(url)).to.throw(BuildpackFetchError, /^Invalid buildpack url/);
    });
  }

  it('never shows its user and password', () => {
    expect(withoutCredentials("Cloning 'https://me:p@ss@example.com/x.git' ...")).to.equal(
      "Cloning 'https://example.com/x.git' ...",
    );
    expect(() => parseBuildpackUrl('https://me:secret@example.com/'))
      .to.throw()
      .with.property('message')
      .not.contain('secret');
  });
});
