import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { expect } from 'chai';
import fc from 'fast-check';
import { decode, encode } from '../../../lib/bbs/messages/codec.js';
import type { MessageType } from '../../../lib/bbs/messages/message-type.js';
import { type DesireLRPRequest, type DesireTaskRequest, ErrorType } from '../../../lib/bbs/messages/models.js';
import { type CallRoute, routes, type StreamRoute } from '../../../lib/bbs/routes.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { sampleDesiredLrp, sampleTaskDefinition } from '../../support/board-load.js';
import { mariadb } from '../../support/mariadb.js';
import { messageArbitrary } from '../../support/message-arbitrary.js';
import { postgres } from '../../support/postgres.js';
import { recordingLogger } from '../../support/recording-logger.js';

/** Messages of each kind at each route; `npm run chaos` takes a hundred times as many, and all databases. */
const numRuns = process.env.CHAOS_ROUNDS ? 20 * Number(process.env.CHAOS_ROUNDS) : 15;

const databases: Record<
  string,
  () => Promise<{ database_driver: string; database_connection_string: string } | undefined>
> = {
  SQLite: async () => undefined,
  ...(process.env.CHAOS_ROUNDS && {
    MariaDB: async () => ({
      database_driver: 'mysql',
      database_connection_string: await (await mariadb()).createDatabase(),
    }),
    PostgreSQL: async () => ({
      database_driver: 'postgres',
      database_connection_string: await (await postgres()).createDatabase(),
    }),
  }),
};

/** Everything, in an order of its own: maps come back sorted. */
const full = { depth: Number.POSITIVE_INFINITY, maxStringLength: null, maxArrayLength: null, sorted: true };

type AnyCall = CallRoute<object, object>;

const callRoutes = Object.entries(routes).filter(([, route]) => route.kind === 'call') as unknown as [
  string,
  AnyCall,
][];
const streamRoutes = Object.entries(routes).filter(([, route]) => route.kind === 'stream') as [string, StreamRoute][];
const withBody = callRoutes.filter(([, { request: type }]) => type) as [
  string,
  AnyCall & { request: MessageType<object> },
][];

for (const [database, make] of Object.entries(databases)) {
  describe(`hostile messages to a board on ${database}`, function () {
    this.timeout(60_000 + numRuns * 1000);
    const agent = new Agent({ keepAlive: true });
    const { logger, lines } = recordingLogger();
    let board: RunningBbs;

    before(async () => {
      const options = await make();
      board = await startBbs({
        config: { max_instances_per_desired_lrp: 5 },
        logger,
        ...(options && { database: options }),
      });
    });

    after(async () => {
      agent.destroy();
      await board?.stop();
    });

    async function ask(
      { method, path }: { method: string; path: string },
      body: Uint8Array,
    ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
      return new Promise((resolve, reject) => {
        const asked = request(`${board.url}${path}`, { method, agent, headers: { 'Content-Length': body.length } });
        asked.once('error', reject);
        asked.once('response', (response) => {
          const { statusCode: status = 0, headers } = response;
          buffer(response).then((answer) => resolve({ status, headers, body: answer }), reject);
        });
        asked.end(body);
      });
    }

    /** Every answer is a message, with or without an error in it. */
    async function expectAnswer(route: AnyCall, body: Uint8Array): Promise<object> {
      const { status, headers, body: answer } = await ask(route, body);
      expect(status).to.equal(200);
      expect(headers['content-type']).to.equal('application/x-protobuf');
      return decode(route.response, answer);
    }

    const errorOf = (answer: object) => (answer as { error?: { type: ErrorType; message: string } }).error;

    /** Nothing came that the board had not foreseen. */
    function expectNoSurprise(): void {
      const failures = lines.filter(({ message }) => message === 'bbs.request.failed');
      expect(failures.map(({ data }) => [data.route, data.error])).to.deep.equal([]);
      lines.length = 0;
      expect(board.fatal).to.equal(undefined);
    }

    let guids = 0;
    const samples: Partial<Record<string, (message: object) => object>> = {
      DesireDesiredLRP: (message) => {
        const { desiredLrp } = message as DesireLRPRequest;
        guids += 1;
        const processGuid = ['p', 'q', `p-${guids}`][guids % 3]!;
        return { desiredLrp: { ...sampleDesiredLrp(processGuid), ...definedOf(desiredLrp) } };
      },
      DesireTask: (message) => {
        const { taskGuid, domain, taskDefinition } = message as DesireTaskRequest;
        return { taskGuid, domain, taskDefinition: { ...sampleTaskDefinition(), ...definedOf(taskDefinition) } };
      },
    };

    /** Encoded messages of a route's own kind; of what is hard to hit, some are nearly right. */
    function encodedMessages(name: string, type: MessageType<object>): fc.Arbitrary<Buffer> {
      const made = messageArbitrary(type);
      const sample = samples[name];
      const messages = sample ? fc.oneof(made, made.map(sample)) : made;
      return messages.map((message) => encode(type, message));
    }

    it('are answered on every route, whatever a message of the right kind holds', async () => {
      for (const [name, route] of withBody) {
        await fc.assert(
          fc.asyncProperty(encodedMessages(name, route.request), async (body) => {
            const error = errorOf(await expectAnswer(route, body));
            if (error) expect(error.message, name).not.to.match(/for an unknown reason|sql|connection/i);
          }),
          { numRuns },
        );
        expectNoSurprise();
      }
    });

    it('are answered on every route when they are cut off or bits have flipped', async () => {
      for (const [name, route] of withBody) {
        const spoiled = fc
          .tuple(encodedMessages(name, route.request), fc.nat(), fc.nat(), fc.boolean())
          .map(([body, at, bit, isCut]) => {
            if (body.length === 0) return body;
            if (isCut) return body.subarray(0, at % body.length);
            const flipped = Buffer.from(body);
            flipped[at % body.length]! ^= 1 << (bit % 8);
            return flipped;
          });
        await fc.assert(
          fc.asyncProperty(spoiled, async (body) => void (await expectAnswer(route, body))),
          { numRuns },
        );
        expectNoSurprise();
      }
    });

    it('are answered on every route when they are random bytes', async () => {
      for (const [, route] of callRoutes) {
        await fc.assert(
          fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (body) => void (await expectAnswer(route, body))),
          { numRuns },
        );
      }
      expectNoSurprise();
    });

    const malformed: Record<string, Buffer> = {
      'text that is not UTF-8': Buffer.from([0x0a, 2, 0xc3, 0x28]),
      'a field that ends too late': Buffer.from([0x0a, 0xff, 0x01, 0x61]),
      'a length of 4 GiB': Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      'a number of more than 64 bits': Buffer.from([0x08, ...Array(10).fill(0xff), 0x01]),
      'field number 0': Buffer.from([0x02, 0]),
      'wire type 7': Buffer.from([0x0f]),
      'an end of no group': Buffer.from([0x0c]),
      'groups 10,000 deep': Buffer.alloc(10_000, 0x7b),
      'messages 10,000 deep': nested(10_000),
    };

    for (const [what, body] of Object.entries(malformed)) {
      it(`are refused as invalid when there is ${what}`, async () => {
        for (const [name, route] of withBody) {
          const error = errorOf(await expectAnswer(route, body));
          // Deep nesting in a field that a message does not have is only passed over.
          if (error || !what.startsWith('messages')) expect(error?.type, name).to.equal(ErrorType.InvalidRequest);
        }
        expectNoSurprise();
      });
    }

    it('are taken with fields that nobody knows', async () => {
      for (const [name, route] of withBody) {
        const unknown = Buffer.concat([Buffer.from([0xfa, 0x7f, 3, 1, 2, 3]), Buffer.from([0xf8, 0x7f, 0x96, 0x01])]);
        const bare = errorOf(await expectAnswer(route, Buffer.alloc(0)));
        expect(errorOf(await expectAnswer(route, unknown))?.message, name).to.equal(bare?.message);
      }
    });

    it('end a subscription before it has begun', async () => {
      for (const [name, { method, path, request: type }] of streamRoutes) {
        if (!type) continue;
        const { status, body } = await ask({ method, path }, Buffer.from([0xff, 0xff]));
        expect([status, body.length], name).to.deep.equal([500, 0]);
      }
    });

    it('are refused when they have millions of parts, and take no memory for them', async function () {
      this.timeout(30_000);
      const route = routes.DesireDesiredLRP as unknown as AnyCall;
      // Empty egress rules (field 20), two bytes of tag and one of length each.
      const rules = Buffer.alloc(48 * 1024 * 1024, Buffer.from([0xa2, 0x01, 0x00]));
      const body = Buffer.concat([Buffer.from([0x0a]), varint(rules.length), rules]);
      const before = process.memoryUsage().rss;
      const error = errorOf(await expectAnswer(route, body));
      expect(error?.type).to.equal(ErrorType.InvalidRequest);
      expect(process.memoryUsage().rss - before).to.be.below(300 * 1024 * 1024);
    });

    it('leave the image as true as the database', async () => {
      const read = async () => ({
        ...(await board.client.call('DesiredLRPs')),
        ...(await board.client.call('ActualLRPs')),
        ...(await board.client.call('Tasks')),
        ...(await board.client.call('Domains')),
      });
      const before = await read();
      await board.restart();
      const after = await read();
      const byKey = ({ desiredLrps, actualLrps, tasks, domains }: typeof before) => ({
        desired: new Map(desiredLrps.map((row) => [row.processGuid, row])),
        actual: new Map(
          actualLrps.map((row) => [`${row.actualLrpKey.processGuid}/${row.actualLrpKey.index}/${row.presence}`, row]),
        ),
        tasks: new Map(tasks.map((row) => [row.taskGuid, row])),
        domains: new Map(domains.map((domain) => [domain, domain])),
      });
      const [image, rows] = [byKey(before), byKey(after)];
      for (const name of ['desired', 'actual', 'tasks', 'domains'] as const) {
        expect([...rows[name].keys()].sort(), name).to.deep.equal([...image[name].keys()].sort());
        for (const [key, row] of rows[name])
          expect(inspect(row, full), `${name} ${key}`).to.equal(inspect(image[name].get(key), full));
      }
      expectNoSurprise();
      if (process.env.CHAOS_ROUNDS) {
        console.log(
          `      ${before.desiredLrps.length} desired, ${before.actualLrps.length} actual LRPs, ${before.tasks.length} tasks`,
        );
      }
    });
  });
}

function definedOf(message: object | undefined): object {
  return Object.fromEntries(
    Object.entries(message ?? {}).filter(([, value]) => value !== undefined && value !== '' && Math.random() < 0.15),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Field 1 within field 1, and so on. */
function nested(depth: number): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (let level = 0; level < depth; level += 1) {
    const head = Buffer.concat([Buffer.from([0x0a]), varint(length)]);
    parts.push(head);
    length += head.length;
  }
  return Buffer.concat(parts.reverse());
}
