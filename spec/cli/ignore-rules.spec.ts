import { expect } from 'chai';
import { parseIgnoreRules } from '../../lib/cli/ignore-rules.js';

/** Of the given paths (directories end with `/`), those that are left out. */
function ignored(rules: string, paths: string[]): string[] {
  const isIgnored = parseIgnoreRules(rules);
  return paths.filter((path) => isIgnored(path.replace(/\/$/, ''), path.endsWith('/')));
}

describe('the rules of a .cfignore file', () => {
  it('leave out version control and the file itself, even when there are none', () => {
    expect(
      ignored('', ['.git/', 'a/.git/', '.cfignore', 'manifest.yml', 'a/manifest.yml', 'index.html']),
    ).to.deep.equal(['.git/', 'a/.git/', '.cfignore', 'manifest.yml']);
  });

  it('fit names at any depth, unless a slash ties them to the top', () => {
    expect(
      ignored('*.log\n/top.txt\ndocs/draft', [
        'a.log',
        'x/b.log',
        'top.txt',
        'x/top.txt',
        'docs/draft',
        'x/docs/draft',
      ]),
    ).to.deep.equal(['a.log', 'x/b.log', 'top.txt', 'docs/draft']);
  });

  it('mean directories only when they end with a slash', () => {
    expect(ignored('tmp/', ['tmp/', 'tmp', 'x/tmp/'])).to.deep.equal(['tmp/', 'x/tmp/']);
  });

  it('know stars, question marks and sets, which do not cross a slash, and double stars, which do', () => {
    const paths = ['a1', 'a12', 'b/x/c', 'b/c', 'b/x/y/c', 'k-file', 'z-file', 'deep/a/b'];
    expect(ignored('a?', paths)).to.deep.equal(['a1']);
    expect(ignored('b/*/c', paths)).to.deep.equal(['b/x/c']);
    expect(ignored('b/**/c', paths)).to.deep.equal(['b/x/c', 'b/c', 'b/x/y/c']);
    expect(ignored('[a-k]-file', paths)).to.deep.equal(['k-file']);
    expect(ignored('[!a-k]-file', paths)).to.deep.equal(['z-file']);
    expect(ignored('deep/**', paths)).to.deep.equal(['deep/a/b']);
  });

  it('let the last fitting line decide, so that an exclamation mark takes back', () => {
    expect(ignored('*.log\n!keep.log', ['a.log', 'keep.log'])).to.deep.equal(['a.log']);
    expect(ignored('!keep.log\n*.log', ['a.log', 'keep.log'])).to.deep.equal(['a.log', 'keep.log']);
  });

  it('take comments, empty lines, line ends of other systems and escapes as such', () => {
    expect(
      ignored('# a\r\n\r\nx\r\n\\#y\n\\!z\nplus+(1).$', ['a', 'x', '#y', '!z', 'plus+(1).$', '# a']),
    ).to.deep.equal(['x', '#y', '!z', 'plus+(1).$']);
  });
});
