import { expect } from 'chai';
import {
  type DropsondeEvent,
  decodeEnvelope,
  encodeEnvelope,
  MalformedEnvelopeError,
} from '../../lib/loggregator/envelope.js';
import { sign, verified } from '../../lib/loggregator/signature.js';
import { readEnvelope, readFields } from '../support/dropsonde.js';

const timestampNs = 1_448_000_000_000_000_000n;
const line = {
  kind: 'LogMessage',
  appId: 'app-guid',
  text: 'hi',
  type: 'OUT',
  sourceType: 'APP',
  sourceInstance: '0',
} as const;

/** The bytes are those of docs/protocol/edge.md §5.1. */
describe('dropsonde envelopes', () => {
  it('have the bytes of the protocol for a log line', () => {
    expect(encodeEnvelope('DEA', timestampNs, line).toString('hex')).to.equal(
      '0a0344454110053080809096c08a958c1442220a02686910011880809096c08a958c1422086170702d677569642a03415050320130',
    );
  });

  it('are signed by 32 bytes in front', () => {
    const envelope = encodeEnvelope('DEA', timestampNs, line);
    const signed = sign(envelope, 'secret');
    expect(signed.subarray(0, 32).toString('hex')).to.equal(
      '2d91ef313428af44eeed088376f294ebf843e2eecefae98d2408c854bb303b50',
    );
    expect(signed.subarray(32).equals(envelope)).to.equal(true);
  });

  it('carry the bytes of a line that is no text as they are', () => {
    const text = Buffer.from([0x68, 0xff, 0x00, 0xfe]);
    const fields = readFields(encodeEnvelope('DEA', timestampNs, { ...line, text }));
    const message = readFields(fields.find(({ number }) => number === 8)!.value as Buffer);
    expect(message[0]!.value).to.deep.equal(text);
  });

  it('tell errors from output, and the source', () => {
    const { log } = readEnvelope(encodeEnvelope('DEA', timestampNs, { ...line, type: 'ERR', sourceInstance: '12' }));
    expect(log).to.deep.equal({
      text: 'hi',
      type: 'ERR',
      appId: 'app-guid',
      sourceType: 'APP',
      sourceInstance: '12',
      timestampNs,
    });
  });

  it('carry tags, ten at most, of 256 characters', () => {
    const event = { kind: 'CounterEvent', name: 'n', delta: 1 } as const;
    const plain = encodeEnvelope('DEA', timestampNs, event).toString('hex');
    const tagged = encodeEnvelope('DEA', timestampNs, { ...event, tags: { 'cell-id': 'c1' } });
    expect(tagged.toString('hex')).to.equal(`${plain}8a010d0a0763656c6c2d696412026331`);
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`tag-${index}`, 'x'.repeat(300)]));
    const { tags } = readEnvelope(encodeEnvelope('DEA', timestampNs, { ...event, tags: many }));
    expect(Object.keys(tags!)).to.deep.equal(Object.keys(many).slice(0, 10));
    expect(new Set(Object.values(tags!))).to.deep.equal(new Set(['x'.repeat(256)]));
    expect(decodeEnvelope(tagged).event).to.deep.equal({ kind: 'CounterEvent', name: 'n', delta: 1 });
  });

  it('carry values', () => {
    const bytes = encodeEnvelope('DEA', timestampNs, { kind: 'ValueMetric', name: 'uptime', value: 1.5, unit: 's' });
    expect(bytes.toString('hex')).to.equal(
      '0a0344454110063080809096c08a958c144a14' + '0a06757074696d65' + '11000000000000f83f' + '1a0173',
    );
  });

  it('carry counters', () => {
    const bytes = encodeEnvelope('DEA', timestampNs, { kind: 'CounterEvent', name: 'calls', delta: 300 });
    expect(bytes.toString('hex')).to.equal(`0a0344454110073080809096c08a958c14520a${'0a0563616c6c7310ac02'}`);
  });

  it('carry what containers use, also more than 32 bits of it', () => {
    const container = {
      applicationId: 'app-guid',
      instanceIndex: 3,
      cpuPercentage: 87.5,
      memoryBytes: 6_000_000_000,
      diskBytes: 0,
    };
    const envelope = readEnvelope(encodeEnvelope('DEA', timestampNs, { kind: 'ContainerMetric', ...container }));
    expect(envelope).to.deep.equal({ origin: 'DEA', timestampNs, container });
  });

  it('are read back, each kind', () => {
    const events: DropsondeEvent[] = [
      { ...line, type: 'ERR', text: Buffer.from([0x68, 0xff, 0x00]) },
      { kind: 'ValueMetric', name: 'uptime', value: 1.5, unit: 's' },
      { kind: 'CounterEvent', name: 'calls', delta: 300 },
      {
        kind: 'ContainerMetric',
        applicationId: 'app-guid',
        instanceIndex: 3,
        cpuPercentage: 87.5,
        memoryBytes: 6_000_000_000,
        diskBytes: 0,
      },
    ];
    for (const event of events) {
      const expected = event.kind === 'LogMessage' ? { ...event, timestampNs } : event;
      expect(decodeEnvelope(encodeEnvelope('DEA', timestampNs, event))).to.deep.equal({
        origin: 'DEA',
        timestampNs,
        event: expected,
      });
    }
  });

  it('are read with fields that nobody knows here, and without those that may be missing', () => {
    // origin, event type, log message of text, type and time; and field 13, the deployment.
    const bytes = Buffer.from(`0a0158100542100a0268691002188080${'9096c08a958c14'}6a0163`, 'hex');
    expect(decodeEnvelope(bytes)).to.deep.equal({
      origin: 'X',
      timestampNs: 0n,
      event: {
        kind: 'LogMessage',
        appId: '',
        text: Buffer.from('hi'),
        type: 'ERR',
        sourceType: '',
        sourceInstance: '',
        timestampNs,
      },
    });
  });

  it('are refused when they are none, of an unknown kind, or without the payload of their kind', () => {
    const good = encodeEnvelope('DEA', timestampNs, line);
    const kindAt = good.indexOf(Buffer.from('1005', 'hex')) + 1;
    const otherKinds = [4, 6, 8, 99].map((kind) => {
      const bytes = Buffer.from(good);
      bytes[kindAt] = kind;
      return bytes;
    });
    const bad = [Buffer.alloc(0), Buffer.from('no envelope'), good.subarray(0, -1), ...otherKinds];
    for (const bytes of bad) {
      expect(() => decodeEnvelope(bytes), bytes.toString('hex')).to.throw(MalformedEnvelopeError);
    }
  });

  it('are taken only with the signature of the secret, where one is wanted', () => {
    const envelope = encodeEnvelope('DEA', timestampNs, line);
    const signed = sign(envelope, 'secret');
    expect(verified(signed, 'secret')).to.deep.equal(envelope);
    const forged = Buffer.from(signed);
    forged[40]! ^= 1;
    for (const datagram of [envelope, forged, sign(envelope, 'other'), Buffer.alloc(31), Buffer.alloc(0)]) {
      expect(verified(datagram, 'secret')).to.equal(undefined);
    }
  });
});
