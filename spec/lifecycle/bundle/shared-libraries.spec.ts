import { expect } from 'chai';
import { parseLdd } from '../../../lib/lifecycle/bundle/shared-libraries.js';

describe('the shared libraries of a program', () => {
  it('are read from what ldd prints, the loader apart', () => {
    const { loader, libraries } = parseLdd(
      [
        '\tlinux-vdso.so.1 (0x00007fa28dfd4000)',
        '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fa28dede000)',
        '\tlibnode.so.108 => /opt/some where/libnode.so.108 (0x00007fa28dede000)',
        '\t/lib64/ld-linux-x86-64.so.2 (0x00007fa28dfd6000)',
        '',
      ].join('\n'),
    );
    expect(loader).to.equal('/lib64/ld-linux-x86-64.so.2');
    expect([...libraries]).to.deep.equal([
      ['libm.so.6', '/lib/x86_64-linux-gnu/libm.so.6'],
      ['libnode.so.108', '/opt/some where/libnode.so.108'],
    ]);
  });

  it('are none for a static program', () => {
    expect(parseLdd('')).to.deep.equal({ loader: undefined, libraries: new Map() });
  });

  it('must all be there', () => {
    expect(() => parseLdd('\tlibx.so.1 => not found\n')).to.throw('libx.so.1 is not found');
  });
});
