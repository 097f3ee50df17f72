import { expect } from 'chai';
import fc from 'fast-check';
import { bodyDecoderFor } from '../../../lib/bbs/client/streams/body-decoder.js';
import { decodeEvent } from '../../../lib/bbs/client/streams/event-decoding.js';
import { MalformedResponse } from '../../../lib/bbs/client/streams/malformed-response.js';
import { type ResponseHead, ResponseHeadParser } from '../../../lib/bbs/client/streams/response-head.js';
import { ServerSentEventParser } from '../../../lib/bbs/client/streams/server-sent-events.js';
import { ActualLRPCrashedEvent } from '../../../lib/bbs/messages/models.js';
import { chunk, streamHead } from '../../support/played-bbs.js';

const kibibyte = 1024;

/** Everything that can be read from these pieces: head, events, whether the body was over, and what was wrong. */
function readAll(pieces: readonly Buffer[]) {
  const heads = new ResponseHeadParser();
  const events = new ServerSentEventParser(64 * kibibyte);
  const read: { head?: ResponseHead; events: object[]; isComplete: boolean; error?: string } = {
    events: [],
    isComplete: false,
  };
  let decoder: ReturnType<typeof bodyDecoderFor> | undefined;
  try {
    for (const piece of pieces) take(piece);
  } catch (error) {
    expect(error).to.be.instanceOf(MalformedResponse);
    read.error = (error as Error).message;
  }
  return read;

  function take(piece: Buffer): void {
    let bytes = piece;
    if (!decoder) {
      const result = heads.push(bytes);
      if (!result) return;
      read.head = result.head;
      decoder = bodyDecoderFor(result.head);
      bytes = result.rest;
    }
    for (const part of decoder.push(bytes)) for (const event of events.push(part)) read.events.push(event);
    read.isComplete = decoder.isComplete;
  }
}

/** The bytes, cut at these places. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

describe('the readers of event streams', () => {
  const text = [
    streamHead,
    chunk('id: 0\nevent: a\ndata: CgYKAXA=\n\n'),
    chunk(':\n\n'),
    chunk('id: 1', ''),
    chunk('\r\nevent: grüße ☂\r\ndata: x\r', ';name="va;lue"'),
    chunk('\ndata: y\r\n\n\n\n', ' '),
    chunk('event: e\ndata: last\n\n'),
    '0;\r\nTrailer: 1\r\n\r\n',
    'behind the end',
  ];
  const bytes = Buffer.concat(text.map((part) => Buffer.from(part)));
  const whole = readAll([bytes]);

  it('find head, events and end', () => {
    expect(whole.head!.status).to.equal(200);
    expect(whole.head!.headers.get('content-type')).to.equal('text/event-stream; charset=utf-8');
    expect(whole.events).to.deep.equal([
      { id: '0', name: 'a', data: 'CgYKAXA=' },
      { id: '1', name: 'grüße ☂', data: 'x\ny' },
      { id: '1', name: 'e', data: 'last' },
    ]);
    expect(whole.isComplete).to.equal(true);
  });

  it('find the same, cut in two anywhere', () => {
    for (let place = 0; place <= bytes.length; place += 1) {
      expect(readAll(cutAt(bytes, [place])), `cut at ${place}`).to.deep.equal(whole);
    }
  });

  it('find the same, byte by byte and in any other pieces', () => {
    expect(readAll([...bytes].map((byte) => Buffer.of(byte)))).to.deep.equal(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 30 }), (places) => {
        expect(readAll(cutAt(bytes, places))).to.deep.equal(whole);
      }),
      { numRuns: 300 },
    );
  });

  it('find any events in any chunks of them', () => {
    const names = fc.string({ unit: 'grapheme' }).map((name) => name.replaceAll(/[\r\n]/g, ''));
    const data = fc.base64String({ minLength: 4 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(names, data), { maxLength: 10 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (events, chunkEnds, cuts) => {
          const body = Buffer.from(events.map(([name, value]) => `event: ${name}\ndata: ${value}\n\n`).join(''));
          const chunks = cutAt(body, chunkEnds).filter(({ length }) => length > 0);
          const framed = chunks.flatMap((part) => [`${part.length.toString(16)};\r\n`, part, '\r\n']);
          const sent = Buffer.concat([streamHead, ...framed, '0\r\n\r\n'].map((part) => Buffer.from(part)));
          const read = readAll(cutAt(sent, cuts));
          expect(read.events).to.deep.equal(events.map(([name, value]) => ({ id: '', name, data: value })));
          expect(read.isComplete).to.equal(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('read any other bytes up to the same place, or refuse them there', () => {
    const words = ['\r\n', '\n', ':', 'data:', 'data: x\n\n', '9;\r\ndata: y\n\n\r\n', '0\r\n\r\n', 'HTTP/1.1 200 OK'];
    const part = fc.oneof(fc.uint8Array({ maxLength: 10 }), fc.constantFrom(...words));
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat()), (parts, cuts) => {
        const body = Buffer.concat([streamHead, ...parts].map((piece) => Buffer.from(piece as string)));
        expect(readAll(cutAt(body, cuts))).to.deep.equal(readAll([body]));
        readAll(cutAt(body.subarray(streamHead.length), cuts));
      }),
      { numRuns: 500 },
    );
  });
});

describe('a response', () => {
  const headOf = (text: string) => new ResponseHeadParser().push(Buffer.from(text, 'latin1'));
  const decoderFor = (...headers: string[]) =>
    bodyDecoderFor(headOf(['HTTP/1.1 200 OK', ...headers, '\r\n'].join('\r\n'))!.head);
  const refuses = (act: () => unknown, why: string) => expect(act).to.throw(MalformedResponse, why);

  it('may come behind interim ones, have no reason and headers twice', () => {
    const { head, rest } = headOf(
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 503\r\nA: 1\r\na:2 \r\nB:\r\n\r\nrest',
    )!;
    expect(head.status).to.equal(503);
    expect([...head.headers]).to.deep.equal([
      ['a', '1, 2'],
      ['b', ''],
    ]);
    expect(rest.toString()).to.equal('rest');
  });

  it('is refused when it is none, naming what it is', () => {
    refuses(() => headOf('\x15\x03\x03\x00\x02\x02\x28\r\n\r\n'), 'not the status line of a response: "\\u0015');
    refuses(() => headOf('HTTP/2 200 OK\r\n\r\n'), 'HTTP/2 200 OK');
    refuses(() => headOf('HTTP/1.1 200 OK\r\nno header\r\n\r\n'), '"no header"');
    refuses(() => headOf('HTTP/1.1 200 OK\r\n folded: x\r\n\r\n'), '" folded: x"');
    refuses(() => headOf(`HTTP/1.1 200 OK\r\nA: ${'a'.repeat(70_000)}`), 'head of more than 65536 bytes');
  });

  it('is as long as its framing says', () => {
    const counted = decoderFor('Content-Length: 5');
    expect(Buffer.concat([...counted.push(Buffer.from('abc'))]).toString()).to.equal('abc');
    expect(counted.isComplete).to.equal(false);
    expect(Buffer.concat([...counted.push(Buffer.from('defg'))]).toString()).to.equal('de');
    expect(counted.isComplete).to.equal(true);
    expect(decoderFor('Content-Length: 0').isComplete).to.equal(true);
    expect(decoderFor('X: y').endsWithConnection).to.equal(true);
  });

  it('is refused with framing that is none or says two things', () => {
    refuses(() => decoderFor('Transfer-Encoding: gzip, chunked'), 'gzip, chunked');
    refuses(() => decoderFor('Transfer-Encoding: chunked', 'Content-Length: 5'), 'content-length 5');
    refuses(() => decoderFor('Content-Length: 5', 'Content-Length: 6'), '5, 6');
    refuses(() => decoderFor('Content-Length: -1'), '-1');
  });

  it('is refused with chunks that are none', () => {
    const push = (text: string) => () => [...decoderFor('Transfer-Encoding: chunked').push(Buffer.from(text))];
    refuses(push('5\r\nabcdefg\r\n'), 'longer than its size');
    refuses(push('x\r\n'), 'not the size of a chunk: "x"');
    refuses(push('\r\n'), 'not the size of a chunk: ""');
    refuses(push('-1\r\n'), '"-1"');
    refuses(push('1000000000000\r\n'), 'not the size of a chunk');
    refuses(push(`1;${'x'.repeat(5000)}`), 'more than 4096 bytes');
    refuses(push(`0\r\n${'a: b\r\n'.repeat(20_000)}`), 'trailers of more than');
  });
});

describe('an event', () => {
  const parser = () => new ServerSentEventParser(1000);
  const push = (text: string, events = parser()) => [...events.push(Buffer.from(text))];

  it('is bounded in its bytes, however many lines they are', () => {
    expect(push(`data: ${'a'.repeat(900)}\n\n`)).to.have.length(1);
    expect(() => push(`data: ${'a'.repeat(1000)}`)).to.throw(MalformedResponse, '1000 bytes');
    expect(() => push('data: aaaaaaaa\n'.repeat(200))).to.throw(MalformedResponse, '1000 bytes');
    expect(() => push('data:\n'.repeat(2000))).to.throw(MalformedResponse, '1000 bytes');
  });

  it('is not made longer by what stands before it', () => {
    const events = parser();
    expect(push(': heartbeat\n'.repeat(1000), events)).to.deep.equal([]);
    expect(push('unknown: x\nid\nretry: 20\nretry: soon\ndata:y\n\n', events)).to.deep.equal([
      { id: '', name: '', data: 'y' },
    ]);
    expect(events.retryMs).to.equal(20);
  });

  it('without data is none', () => {
    expect(push('event: a\n\nevent: b\ndata:\n\nevent: c\n\n\n')).to.deep.equal([]);
  });

  it('is decoded by its name', () => {
    const data = 'CgYKAXAaAWQSBgoBaRIBYxgDIgRib29tKICAqLHjn+fLFw==';
    const event = decodeEvent({ id: '0', name: 'actual_lrp_crashed', data });
    expect(event.name).to.equal('actual_lrp_crashed');
    expect(event.message).to.deep.include({ crashCount: 3, crashReason: 'boom', since: 1700000000000000000n });
    expect(Object.keys(event.message)).to.have.members(Object.keys(ActualLRPCrashedEvent.create()));
  });

  it('has text of cut characters with a replacement for them', () => {
    const data = Buffer.from('2203e298', 'hex').toString('base64');
    expect(() => decodeEvent({ id: '', name: 'actual_lrp_crashed', data })).to.throw('invalid payload');
    const cut = Buffer.from('2203e29821', 'hex').toString('base64');
    expect(decodeEvent({ id: '', name: 'actual_lrp_crashed', data: cut }).message).to.deep.include({
      crashReason: '\ufffd!',
    });
  });

  it('is refused when its name or its data is unknown', () => {
    expect(() => decodeEvent({ id: '', name: 'moon_full', data: 'AA==' })).to.throw(
      'unrecognized event type: "moon_full"',
    );
    for (const data of ['AA=', 'A===', 'AA-_', 'Z m9=', 'CgY=', '====']) {
      expect(() => decodeEvent({ id: '', name: 'task_created', data }), data).to.throw(
        'invalid payload of an event of type task_created',
      );
    }
  });
});
