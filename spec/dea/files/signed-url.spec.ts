import { expect } from 'chai';
import {
  canonicalText,
  RequestVerifier,
  sign,
  signedUrl,
  verifySignedRequest,
} from '../../../lib/dea/files/signed-url.js';

const key = '0123456789abcdef0123456789abcdef';
const timestamp = 1458249850;
const instancePath = '/instance_paths/i';

/** Key, text, HMAC of docs/protocol/dea.md §20.2. */
const vectors = [
  [
    'key',
    'value',
    '86951dc765bef95f9474669cd18df7705d99ae47ea3e76a2ca4c22f71656f42ea66e3acdc898c93f475009fa599d0bb83bd5365f36a9cb92c570708f8de5fae8',
  ],
  [
    key,
    '/instance_paths/f2f0c3f1b7a94a4d9a2b8c2d3e4f5a6b?path=%2Flogs%2Fstdout.log&timestamp=1458249850',
    '8b507414ceaa30c6f4a5a9f3878a5db7308aee2ed646bc5a880047e3b5300a641a600f44b94dd441c790bbb334e75cbbfcb5ce9eed97dbbedd91666fc6a2e0a1',
  ],
  [
    key,
    '/staging_tasks/0b8f/file_path?path=%2Ftmp%2Fstaged%2Flogs%2Fstaging_task.log&timestamp=1458249850',
    '1e07ce495cc126a0c32644696d8612e4f35e1a4743295f1e1d0893538ce8c65046947d2831caa9fb09ea72a407be5c5bae836741315a7fad33bdfc1fd900f76b',
  ],
  [
    key,
    '/instance_paths/i?path&timestamp=1458249850',
    'a10091b921ff6886c3927494d9e37fa585d30dc07b7f55a7d6d1ac81a506a7fbb38deb387c15ca17c117a261b7682694e1e3af168f9369e48748dc713abb6a6e',
  ],
  [
    key,
    '/instance_paths/i?path=&timestamp=1458249850',
    '0f0158c5f229b58a0a646e9bc9d085d34ec043b04c421ddd2311e0ffcdaee443a4ed1d5d20fdea34bc4bc5b4e8d9d3a2752d68b873832843f07377a2231ce278',
  ],
  [
    key,
    '/instance_paths/i?path=%2Fa+b%26c%3Dd%2Be%25f%2F%C3%BC%7E*%27%21%28%29_.-&timestamp=1458249850',
    '6ca0f8e0baffd10a28ea4d765bf3176ac19d5bdc3ba337b8c38f77f70b44c80d19f22ab94e5326285c5aeba9534ff8007ffec4b8cbcda334006afd701776de3e',
  ],
] as const;

const wildName = "/a b&c=d+e%f/ü~*'!()_.-";

describe('Signed URLs', () => {
  for (const [vectorKey, text, hmac] of vectors) {
    it(`sign ${text} as the Cloud Controller's agents always did`, () => {
      expect(sign(vectorKey, text)).to.equal(hmac);
    });
  }

  it('sign the path, the file and the time in one spelling', () => {
    expect(canonicalText('/instance_paths/i', wildName, String(timestamp))).to.equal(vectors[5][1]);
    expect(canonicalText('/instance_paths/i', '', String(timestamp))).to.equal(vectors[4][1]);
    expect(canonicalText('/instance_paths/i', null, String(timestamp))).to.equal(vectors[3][1]);
  });

  it('have all parameters sorted', () => {
    const url = signedUrl({
      protocol: 'http',
      host: 'a1b2c3d4e5f60718293a4b5c6d7e8f90.domain.example.com',
      key,
      urlPath: '/instance_paths/f2f0c3f1b7a94a4d9a2b8c2d3e4f5a6b',
      filePath: '/logs/stdout.log',
      timestamp,
    });
    expect(url).to.equal(
      'http://a1b2c3d4e5f60718293a4b5c6d7e8f90.domain.example.com/instance_paths/f2f0c3f1b7a94a4d9a2b8c2d3e4f5a6b' +
        `?hmac=${vectors[1][2]}&path=%2Flogs%2Fstdout.log&timestamp=1458249850`,
    );
  });

  it('have the bare name for a null path', () => {
    const url = signedUrl({ protocol: 'https', host: 'h', key, urlPath: instancePath, filePath: null, timestamp });
    expect(url).to.equal(`https://h/instance_paths/i?hmac=${vectors[3][2]}&path&timestamp=1458249850`);
  });

  describe('are verified', () => {
    const verify = (query: string, now = timestamp, urlPath = instancePath) =>
      verifySignedRequest(key, urlPath, query, now);
    const hmacOf = (path: string | null, at: string | number = timestamp) =>
      sign(key, canonicalText(instancePath, path, String(at)));
    const hmac = hmacOf('/logs');
    const good = `hmac=${hmac}&path=%2Flogs&timestamp=${timestamp}`;

    it('as they were made', () => {
      expect(verify(good)).to.deep.equal({ result: 'ok', path: '/logs' });
      const url = new URL(
        signedUrl({ protocol: 'http', host: 'h', key, urlPath: instancePath, filePath: wildName, timestamp }),
      );
      expect(verify(url.search.slice(1))).to.deep.equal({ result: 'ok', path: wildName });
    });

    it('whatever the order and spelling of parameters, and with others beside them', () => {
      for (const query of [
        `timestamp=${timestamp}&path=/logs&hmac=${hmac}`,
        `tail&tail_offset=7&${good}&x=%zz`,
        `%68mac=${hmac}&p%61th=%2flogs&timestamp=%31458249850`,
      ]) {
        expect(verify(query), query).to.deep.equal({ result: 'ok', path: '/logs' });
      }
    });

    it('with the null path in both spellings', () => {
      for (const path of ['path', 'path=']) {
        expect(verify(`hmac=${vectors[3][2]}&${path}&timestamp=${timestamp}`)).to.deep.equal({
          result: 'ok',
          path: '',
        });
      }
      expect(verify(`hmac=${vectors[4][2]}&path=&timestamp=${timestamp}`)).to.deep.equal({ result: 'ok', path: '' });
    });

    it('not with another file, path, time, key or hmac', () => {
      const invalid = { result: 'invalid-hmac' };
      expect(verify(good.replace('logs', 'etc'))).to.deep.equal(invalid);
      expect(verify(good, timestamp, '/instance_paths/j')).to.deep.equal(invalid);
      expect(verify(good, timestamp, '/instance_paths/i/')).to.deep.equal(invalid);
      expect(verify(good.replace(String(timestamp), String(timestamp + 1)))).to.deep.equal(invalid);
      expect(verify(good.replace(hmac, hmac.toUpperCase()))).to.deep.equal(invalid);
      expect(verify(good.replace(hmac, ''))).to.deep.equal(invalid);
      expect(verify(good.replace(`hmac=${hmac}`, 'hmac'))).to.deep.equal(invalid);
      expect(verify(good.replace(hmac, hmac.slice(0, 127)))).to.deep.equal(invalid);
      expect(verify(`hmac=${vectors[3][2]}&path=%2F&timestamp=${timestamp}`)).to.deep.equal(invalid);
      expect(verifySignedRequest('other', instancePath, good, timestamp)).to.deep.equal(invalid);
    });

    it('by their last value where a name comes twice', () => {
      expect(verify(`${good}&path=%2Fetc`)).to.deep.equal({ result: 'invalid-hmac' });
      expect(verify(`path=%2Fetc&${good}`)).to.deep.equal({ result: 'ok', path: '/logs' });
    });

    it('only with all names', () => {
      expect(verify('')).to.deep.equal({ result: 'missing', names: ['hmac', 'timestamp', 'path'] });
      expect(verify('path&hmac')).to.deep.equal({ result: 'missing', names: ['timestamp'] });
    });

    it('only with a whole number of seconds', () => {
      for (const time of ['x', '1.5', '0x10', '1e9', '9'.repeat(400)]) {
        expect(verify(`hmac=${hmac}&path&timestamp=${time}`)).to.deep.equal({ result: 'invalid-timestamp' });
      }
      expect(verify(`hmac=${hmacOf('/logs', '')}&path=/logs&timestamp=`)).to.deep.equal({ result: 'invalid-hmac' });
    });

    it('for an hour, and not before their time', () => {
      expect(verify(good, timestamp + 3600)).to.deep.equal({ result: 'ok', path: '/logs' });
      expect(verify(good, timestamp + 3601)).to.deep.equal({ result: 'expired' });
      expect(verify(good, timestamp - 60)).to.deep.equal({ result: 'ok', path: '/logs' });
      expect(verify(good, timestamp - 61)).to.deep.equal({ result: 'future' });
    });
  });
});

describe('A request verifier', () => {
  const query = (path: string) =>
    `hmac=${sign(key, canonicalText(instancePath, path, String(timestamp)))}&path=${path}&timestamp=${timestamp}`;
  const verify = (verifier: RequestVerifier, text: string, nowSeconds = timestamp) =>
    verifier.verify(`${instancePath}?${text}`, instancePath, text, nowSeconds);

  it('lets requests that it has seen before grow old', () => {
    const verifier = new RequestVerifier(key);
    expect(verify(verifier, query('x'), timestamp - 61)).to.deep.equal({ result: 'future' });
    expect(verify(verifier, query('x'))).to.deep.equal({ result: 'ok', path: 'x' });
    expect(verify(verifier, query('x'), timestamp + 3600)).to.deep.equal({ result: 'ok', path: 'x' });
    expect(verify(verifier, query('x'), timestamp + 3601)).to.deep.equal({ result: 'expired' });
  });

  it('takes no request for another one', () => {
    const verifier = new RequestVerifier(key);
    for (let count = 0; count < 600; count += 1) {
      const good = query(String(count));
      expect(verify(verifier, good)).to.deep.equal({ result: 'ok', path: String(count) });
      expect(verify(verifier, good.replace('path=', 'path=1'))).to.deep.equal({ result: 'invalid-hmac' });
      expect(verify(verifier, `${good}&path=other`)).to.deep.equal({ result: 'invalid-hmac' });
    }
    expect(verify(new RequestVerifier('other'), query('1'))).to.deep.equal({ result: 'invalid-hmac' });
  });
});
