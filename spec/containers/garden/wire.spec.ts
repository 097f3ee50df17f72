import { randomInt } from 'node:crypto';
import { expect } from 'chai';
import { encodeJson } from '../../../lib/containers/garden/json/encode.js';
import { bytesOfLiteral, literalOfBytes, membersOf } from '../../../lib/containers/garden/json/members.js';
import { JsonSyntaxError } from '../../../lib/containers/garden/json/scanner.js';
import {
  encodeClientPayload,
  PayloadReader,
  parseClientPayload,
} from '../../../lib/containers/garden/messages/payload.js';
import { matchRoute, type RouteName, routes, routeTo } from '../../../lib/containers/garden/routes.js';
import { RequestFramer } from '../../../lib/containers/garden/server/request-framer.js';

/** A buffer in pieces of the given length. */
function inPieces(bytes: Buffer, length: number): Buffer[] {
  const count = Math.ceil(bytes.length / length);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * length, (index + 1) * length));
}

describe('payloads of the Garden protocol', () => {
  it('are told apart, in whatever pieces they come and whatever is between them', () => {
    const values = ['{"a":"}\\"{"}', 'null', '{"b":[1,{"c":2.5e3}],"d":"é"}', '12', '{}', '[true,false]'];
    const text = Buffer.from(` ${values[0]}\n\n${values[1]}${values[2]}${values[3]} ${values[4]}\t${values[5]}`);
    for (let length = 1; length <= text.length; length += 1) {
      const reader = new PayloadReader();
      const found = inPieces(text, length).flatMap((piece) => [...reader.push(piece)].map(String));
      expect(
        found.map((value) => value.trim()),
        `pieces of ${length}`,
      ).to.deep.equal(values);
    }
  });

  it('are given up at the first byte that cannot belong to one', () => {
    for (const text of ['x', '{"a":1}y', '{"a":1,}', '[1 2]', '{"a":01}', '-', '"\n"']) {
      const push = () => {
        const reader = new PayloadReader();
        return [...reader.push(Buffer.from(`${text} `))];
      };
      expect(push, text).to.throw(JsonSyntaxError);
    }
  });

  it('carry any bytes', () => {
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index < 256 ? index : randomInt(256))));
    expect(bytesOfLiteral(literalOfBytes(bytes)).equals(bytes)).to.equal(true);
    const [value] = new PayloadReader().push(encodeClientPayload('a"b', { kind: 'stdin', data: bytes }));
    expect(parseClientPayload(value!)).to.deep.equal({ kind: 'stdin', data: bytes });
  });

  it('keep halves of pairs as they are', () => {
    expect(bytesOfLiteral(Buffer.from('"\\ud83d!\\udc80\\ud83d\\ud83d\\udc80"')).toString('hex')).to.equal(
      'eda0bd21edb280eda0bdf09f9280',
    );
  });

  it('are read by their first meaning', () => {
    const kindOf = (text: string) => parseClientPayload(Buffer.from(text)).kind;
    expect(kindOf('{"signal":0,"source":0,"data":"x","tty":{"window_size":{"columns":1,"rows":1}}}')).to.equal(
      'resize',
    );
    expect(kindOf('{"signal":0,"source":0,"data":"x"}')).to.equal('stdin');
    expect(kindOf('{"SIGNAL":1}')).to.equal('signal');
    expect(
      [...membersOf(Buffer.from(' { "A" : [ "x" ] , "b":-1.5e+2}')).entries()].map(([key, raw]) => [
        key,
        String(raw).trim(),
      ]),
    ).to.deep.equal([
      ['a', '[ "x" ]'],
      ['b', '-1.5e+2'],
    ]);
  });
});

describe('JSON as Go writes it', () => {
  it('sorts the keys of maps, keeps those of structs, and escapes what HTML knows', () => {
    const map = new Map([
      ['9', 1],
      ['10', 2],
      ['b', 3],
      ['B', 4],
    ]);
    expect(encodeJson({ z: map, a: '<&>\u2028"', n: null, u: undefined, l: [undefined, 1] })).to.equal(
      '{"z":{"10":2,"9":1,"B":4,"b":3},"a":"\\u003c\\u0026\\u003e\\u2028\\"","n":null,"l":[null,1]}\n',
    );
  });
});

describe('the end of an HTTP request', () => {
  const requests = [
    'GET /a HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\n\r\n\r\nx',
    'PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: y\r\n\r\n',
    '\r\nGET /d HTTP/1.1\r\nContent-Length: 0\r\n\r\n',
  ];

  it('is found in whatever pieces the request comes, and nothing behind it is taken', () => {
    for (const request of requests) {
      const bytes = Buffer.from(`${request}{"source":0}`);
      for (let length = 1; length <= bytes.length; length += 1) {
        const framer = new RequestFramer();
        const taken = inPieces(bytes, length).reduce(
          (sum, piece) => sum + (framer.isComplete ? 0 : framer.take(piece)),
          0,
        );
        expect([taken, framer.isComplete], `${request} in pieces of ${length}`).to.deep.equal([request.length, true]);
      }
    }
  });

  it('is not known when the request is none: the parser is to have all of it', () => {
    for (const text of ['x'.repeat(300_000), 'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nabc', 'garbage\nmore']) {
      const framer = new RequestFramer();
      expect(framer.take(Buffer.from(text))).to.equal(text.length);
      expect(framer.isComplete).to.equal(false);
    }
  });
});

describe('the routes of the Garden API', () => {
  it('lead back to the verb that they were made from, whatever the names in them are', () => {
    for (const name of Object.keys(routes) as RouteName[]) {
      const given = { handle: 'a/b ?%', pid: 'p#', streamid: '1', key: 'x/y' };
      const { method, path } = routeTo(name, given);
      const match = matchRoute(method, path);
      expect(match, name).to.include({ kind: 'found', name });
      const used = match.kind === 'found' ? match.parameters : {};
      for (const [key, value] of Object.entries(used)) expect(value).to.equal(given[key as keyof typeof given]);
    }
  });
});
