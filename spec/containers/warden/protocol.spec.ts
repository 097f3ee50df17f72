import { expect } from 'chai';
import fc from 'fast-check';
import { rlimitNames } from '../../../lib/containers/engine.js';
import {
  decodeEnvelope,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  InvalidMessageError,
  UnreadableMessageError,
} from '../../../lib/containers/warden/protocol/codec.js';
import { encodeFrame, FrameParser, FramingError } from '../../../lib/containers/warden/protocol/framing.js';

const bytes = (text: string) => Buffer.from(text, 'hex');

describe('frames of the Warden protocol', () => {
  const parse = (pieces: Buffer[], maximumBytes = 1000) => {
    const parser = new FrameParser(maximumBytes);
    return pieces.flatMap((piece) => [...parser.push(piece)]);
  };

  it('are a length in bytes, the payload and a line end', () => {
    expect(encodeFrame(Buffer.from('ü'))).to.deep.equal(Buffer.from('2\r\nü\r\n'));
    expect(encodeFrame(Buffer.alloc(0)).toString()).to.equal('0\r\n\r\n');
  });

  it('come out the same in whatever pieces they come in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (payloads, sizes) => {
          const stream = Buffer.concat(payloads.map(encodeFrame));
          const pieces: Buffer[] = [];
          for (let offset = 0, index = 0; offset < stream.length; index += 1) {
            const size = sizes[index % sizes.length]!;
            pieces.push(stream.subarray(offset, offset + size));
            offset += size;
          }
          expect(parse(pieces)).to.deep.equal(payloads.map((payload) => Buffer.from(payload)));
        },
      ),
    );
  });

  it('are refused when their length line is none, as soon as that can be told', () => {
    const wrong = [
      'GET / HTTP/1.1\r\n',
      '-1\r\n',
      '+4\r\n',
      ' 4\r\n',
      '0x4\r\n',
      '4\n',
      '\r\n',
      '12345678901',
      '1\r1',
      '4\rx\n',
    ];
    for (const line of wrong) {
      expect(() => parse([Buffer.from(line)]), JSON.stringify(line)).to.throw(FramingError);
      expect(() => parse([...Buffer.from(line)].map((byte) => Buffer.from([byte]))), JSON.stringify(line)).to.throw(
        FramingError,
      );
    }
  });

  it('are refused when they are too long, by their length line alone', () => {
    expect(() => parse([Buffer.from('1001\r\n')])).to.throw(FramingError, '1001');
    expect(() => parse([Buffer.from('9999999999\r\n')])).to.throw(FramingError);
    expect(parse([Buffer.from('1000\r\n')])).to.deep.equal([]);
  });

  it('are refused when the payload does not end where it should', () => {
    expect(() => parse([Buffer.from('2\r\nabc\r\n')])).to.throw(FramingError);
  });
});

describe('messages of the Warden protocol', () => {
  it('have the bytes that clients of old expect', () => {
    expect(encodeRequest('Ping', {})).to.deep.equal(bytes('085b1200'));
    expect(encodeRequest('Echo', { message: Buffer.from('hi') })).to.deep.equal(bytes('085d12040a026869'));
    expect(encodeResponse('Create', { handle: '17a1b2c3d4e' })).to.deep.equal(
      Buffer.concat([bytes('080b120d0a0b'), Buffer.from('17a1b2c3d4e')]),
    );
    // Job ids are not packed.
    expect(encodeResponse('Info', { jobIds: [1, 300] })).to.deep.equal(bytes('080e1207e00201e002ac02'));
  });

  it('come back as they were, with defaults for what was left out', () => {
    const envelope = decodeEnvelope(
      encodeRequest('Spawn', { handle: 'h', script: bytes('00ff'), rlimits: { nofile: 5 } }),
    );
    expect(envelope.type).to.equal('Spawn');
    expect(decodeRequest('Spawn', envelope.content)).to.deep.equal({
      handle: 'h',
      script: bytes('00ff'),
      privileged: false,
      rlimits: { nofile: 5 },
      discardOutput: false,
    });
  });

  it('know all resource limits by number', () => {
    const rlimits = Object.fromEntries(rlimitNames.map((name, index) => [name, index + 1]));
    const { content } = decodeEnvelope(encodeRequest('Run', { handle: 'h', script: Buffer.alloc(0), rlimits }));
    expect(decodeRequest('Run', content).rlimits).to.deep.equal(rlimits);
    // Field n has the value n.
    const entries = rlimitNames.flatMap((_, index) => [(index + 1) << 3, index + 1]);
    expect(content.includes(Buffer.from(entries))).to.equal(true);
  });

  it('do not re-encode what processes said', () => {
    const stdout = bytes('c328fffe00');
    const { content } = decodeEnvelope(encodeResponse('Link', { exitStatus: 0, stdout, stderr: Buffer.alloc(0) }));
    expect(decodeResponse('Link', content)).to.deep.equal({ exitStatus: 0, stdout, stderr: Buffer.alloc(0) });
  });

  it('may have fields that nobody knows', () => {
    expect(decodeRequest('Info', bytes('0a0168 7801'.replace(' ', '')))).to.deep.equal({ handle: 'h' });
  });

  it('are unreadable with another type, without a type or payload, or as garbage', () => {
    for (const payload of ['', '085b', '1200', '08631200', '08001200', 'ffffffff', '085b12ff01']) {
      expect(() => decodeEnvelope(bytes(payload)), payload).to.throw(UnreadableMessageError);
    }
  });

  it('are refused without what they need, naming it', () => {
    expect(() => decodeRequest('Info', Buffer.alloc(0))).to.throw(
      InvalidMessageError,
      "InfoRequest: missing required 'handle'",
    );
    expect(() => decodeRequest('Link', bytes('0a0168'))).to.throw(
      InvalidMessageError,
      "LinkRequest: missing required 'jobId'",
    );
    expect(() => decodeRequest('NetOut', bytes('0a01682807'))).to.throw(InvalidMessageError, 'NetOutRequest: protocol');
    expect(() => decodeRequest('Info', bytes('0a7f68'))).to.throw(InvalidMessageError, 'InfoRequest');
  });

  it('never make the decoder do anything but refuse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (content) => {
        for (const type of ['Create', 'Spawn', 'LimitDisk', 'NetOut'] as const) {
          try {
            decodeRequest(type, Buffer.from(content));
          } catch (error) {
            expect(error).to.be.instanceOf(InvalidMessageError);
          }
        }
      }),
    );
  });
});
