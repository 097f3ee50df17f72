import { expect } from 'chai';
import fc from 'fast-check';
import { decode, encode, MalformedMessage } from '../../../lib/bbs/messages/codec.js';
import type { MessageType } from '../../../lib/bbs/messages/message-type.js';
import * as models from '../../../lib/bbs/messages/models.js';

const {
  Action,
  ActualLRP,
  ActualLRPCrashedEvent,
  ActualLRPInstanceKey,
  ActualLRPKey,
  ActualLRPLifecycleResponse,
  ActualLRPNetInfo,
  ActualLRPsRequest,
  CellPresence,
  ClaimActualLRPRequest,
  DesiredLRP,
  DesiredLRPSchedulingInfo,
  DesiredLRPUpdate,
  DomainsResponse,
  ErrorType,
  EvacuationResponse,
  EventsByCellId,
  LogRateLimit,
  MetricTagValue,
  ModificationTag,
  PingResponse,
  PortMapping,
  ProtoRoutes,
  SecurityGroupRule,
  StartActualLRPRequest,
  Task,
  TaskLifecycleResponse,
  TaskState,
  UpsertDomainRequest,
} = models;

const key = ActualLRPKey.create({ processGuid: 'p', domain: 'd' });
const instanceKey = ActualLRPInstanceKey.create({ instanceGuid: 'i', cellId: 'c' });

interface Example<T extends object = object> {
  what: string;
  type: MessageType<T>;
  message: T;
  hex: string;
}

function example<T extends object>(what: string, type: MessageType<T>, fields: Partial<T>, hex: string): Example<T> {
  return { what, type, message: type.create(fields), hex: hex.replaceAll(' ', '') };
}

function hexOf(text: string): string {
  return Buffer.from(text).toString('hex');
}

/** docs/protocol/bbs-messages.md, appendix B, and what bbs.md shows in bytes. */
const examples: Example[] = [
  example('a ping that is answered', PingResponse, { available: true }, '08 01'),
  example('a call that succeeded', ActualLRPLifecycleResponse, {}, ''),
  example(
    'an error',
    TaskLifecycleResponse,
    { error: { type: ErrorType.ResourceNotFound, message: 'x' } },
    '0a 05 08 0d 12 01 78',
  ),
  example('a domain', UpsertDomainRequest, { domain: 'cf-apps', ttl: 120 }, '0a 07 63 66 2d 61 70 70 73 10 78'),
  example('index 0', ActualLRPsRequest, { processGuid: 'p', index: 0 }, '1a 01 70 20 00'),
  example('no index', ActualLRPsRequest, { processGuid: 'p' }, '1a 01 70'),
  example('no instances', DesiredLRPUpdate, { instances: 0 }, '08 00'),
  example(
    'a claim',
    ClaimActualLRPRequest,
    { processGuid: 'p', actualLrpInstanceKey: instanceKey },
    '0a 01 70 1a 06 0a 01 69 12 01 63',
  ),
  example(
    'a start',
    StartActualLRPRequest,
    {
      actualLrpKey: key,
      actualLrpInstanceKey: instanceKey,
      actualLrpNetInfo: ActualLRPNetInfo.create({
        address: '10.0.0.5',
        ports: [PortMapping.create({ containerPort: 8080, hostPort: 61000 })],
      }),
      routable: true,
    },
    '0a 06 0a 01 70 1a 01 64 12 06 0a 01 69 12 01 63 1a 13 0a 08 31 30 2e 30 2e 30 2e 35 12 07 08 90 3f 10 c8 dc 03 30 01',
  ),
  example('a negative index', ActualLRPKey, { index: -1 }, '10 ff ff ff ff ff ff ff ff ff 01'),
  example('a negative rate', LogRateLimit, { bytesPerSecond: -1n }, '08 ff ff ff ff ff ff ff ff ff 01'),
  example(
    'routes',
    ProtoRoutes,
    { routes: new Map([['cf-router', Buffer.from('[]')]]) },
    '0a 0f 0a 09 63 66 2d 72 6f 75 74 65 72 12 02 5b 5d',
  ),
  example('a container that is kept', EvacuationResponse, { keepContainer: true }, '10 01'),
  example(
    'a refused evacuation',
    EvacuationResponse,
    { error: { type: ErrorType.InvalidRequest, message: 'the request received is invalid' }, keepContainer: true },
    `0a 23 08 04 12 1f ${hexOf('the request received is invalid')} 10 01`,
  ),
  example('domains', DomainsResponse, { domains: ['cf-apps'] }, '12 07 63 66 2d 61 70 70 73'),
  example('a cell filter', EventsByCellId, { cellId: 'c1' }, '0a 02 63 31'),
  example('a state', Task, { state: TaskState.Running }, '38 02'),
  example(
    'an instance that was just made',
    ActualLRP,
    {
      actualLrpKey: key,
      state: 'UNCLAIMED',
      since: 5n,
      modificationTag: ModificationTag.create({ epoch: '0'.repeat(36) }),
      routable: false,
    },
    `0a060a01701a0164 1200 1a00 3209${hexOf('UNCLAIMED')} 4005 4a260a24${hexOf('0'.repeat(36))} 6800`,
  ),
  example(
    'what Go always writes of a scheduling info',
    DesiredLRPSchedulingInfo,
    { instances: 1 },
    '0a00 1801 2200 2a00 3200',
  ),
  example('ports, a tag each', DesiredLRP, { ports: [8080, 2222] }, '70 90 3f 70 ae 11'),
  example('ports of a rule, a tag each', SecurityGroupRule, { ports: [80, 443] }, '18 50 18 bb 03'),
  example('an empty entry of a map', CellPresence, { annotations: new Map([['', '']]) }, '4a 04 0a 00 12 00'),
];

describe('messages of the bulletin board', () => {
  for (const { what, type, message, hex } of examples) {
    it(`have Go's bytes for ${what}`, () => {
      expect(encode(type, message).toString('hex')).to.equal(hex);
    });

    it(`are read from Go's bytes for ${what}`, () => {
      expect(decode(type, Buffer.from(hex, 'hex'))).to.deep.equal(message);
    });
  }

  it('have the bytes of the crashed event that the protocol shows', () => {
    const event = ActualLRPCrashedEvent.create({
      actualLrpKey: key,
      actualLrpInstanceKey: instanceKey,
      crashCount: 3,
      crashReason: 'boom',
      since: 1_700_000_000_000_000_000n,
    });
    expect(encode(ActualLRPCrashedEvent, event).toString('base64')).to.equal(
      'CgYKAXAaAWQSBgoBaRIBYxgDIgRib29tKICAqLHjn+fLFw==',
    );
  });

  it('are read with packed ports too', () => {
    expect(decode(DesiredLRP, Buffer.from('7204903fae11', 'hex')).ports).to.deep.equal([8080, 2222]);
  });

  it('pass over fields that are not known, groups among them', () => {
    const unknown = [
      'a00601',
      'a1060000000000000000',
      'a20602abcd',
      'a306 0801 0b0801 0c a406'.replaceAll(' ', ''),
      'a50600000000',
    ];
    const bytes = Buffer.from(`${unknown.join('')}0801`, 'hex');
    expect(decode(PingResponse, bytes)).to.deep.equal({ available: true });
  });

  it('pass over known fields of another wire type', () => {
    expect(decode(PingResponse, Buffer.from('0a01610801', 'hex'))).to.deep.equal({ available: true });
  });

  it('take the empty message for one that is absent where Go always writes it', () => {
    expect(decode(ActualLRP, Buffer.alloc(0)).actualLrpInstanceKey).to.deep.equal({ instanceGuid: '', cellId: '' });
  });

  it('take a map entry without a value for one with an empty value', () => {
    const update = decode(DesiredLRPUpdate, Buffer.from('22030a0161', 'hex'));
    expect([...update.metricTags]).to.deep.equal([['a', MetricTagValue.create()]]);
  });

  for (const [what, hex] of [
    ['a tag that does not end', 'ffff'],
    ['a field longer than the rest', '0aff0161'],
    ['a field without its value', '08'],
    ['field number 0', '0001'],
    ['a number of more than 64 bits', '08ffffffffffffffffffff01'],
    ['a group that only ends', '0c'],
    ['a group that does not end', '0b0801'],
    ['an inner message longer than the outer one', '0a020a05'],
    ['text that is not UTF-8', '0a0412 02ff61'.replace(' ', '')],
  ] as const) {
    it(`are refused with ${what}`, () => {
      expect(() => decode(TaskLifecycleResponse, Buffer.from(hex, 'hex'))).to.throw(
        MalformedMessage,
        /^not a TaskLifecycleResponse: /,
      );
    });
  }

  it('are refused when they are nested without end', () => {
    let bytes = Buffer.alloc(0);
    for (let depth = 0; depth < 600; depth += 1) {
      const inner = encode(LogRateLimit, { bytesPerSecond: BigInt(bytes.length) }).subarray(1);
      bytes = Buffer.concat([
        Buffer.from([depth % 2 === 0 ? 0x0a : 0x32]),
        bytes.length === 0 ? Buffer.from([0]) : inner,
        bytes,
      ]);
    }
    expect(() => decode(Action, bytes)).to.throw(MalformedMessage, 'nested');
  });

  it('may hold text that is not UTF-8 where the reader takes it', () => {
    const bytes = Buffer.from('0a04120261ff', 'hex');
    const { error } = decode(TaskLifecycleResponse, bytes, { invalidText: 'replaced' });
    expect(error?.message).to.equal('a\ufffd');
  });

  it('may hold the replacement character itself', () => {
    const message = TaskLifecycleResponse.create({ error: { type: 0, message: '\ufffd' } });
    expect(decode(TaskLifecycleResponse, encode(TaskLifecycleResponse, message))).to.deep.equal(message);
  });

  it('come back as they went, whatever their numbers and texts', () => {
    const wellFormed = fc.string({ unit: 'grapheme' });
    const tasks = fc.record({
      taskGuid: wellFormed,
      createdAt: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      rejectionCount: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      failed: fc.boolean(),
      result: wellFormed,
    });
    fc.assert(
      fc.property(tasks, (fields) => {
        const task = Task.create(fields);
        expect(decode(Task, encode(Task, task))).to.deep.equal(task);
      }),
    );
  });

  it('are refused or read, but never break the reader', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decode(DesiredLRP, bytes);
        } catch (error) {
          expect(error).to.be.instanceOf(MalformedMessage);
        }
      }),
    );
  });

  it('may be larger than the buffer that they are written into', () => {
    const domains = Array.from({ length: 3000 }, (_, index) => `domain-${index}`);
    expect(decode(DomainsResponse, encode(DomainsResponse, DomainsResponse.create({ domains }))).domains).to.deep.equal(
      domains,
    );
  });
});
