import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { createNatsBus } from '../../../lib/bus/nats-bus.js';
import { basicAuthorization } from '../../../lib/http/url.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { HealthClient, type HealthClientOptions } from '../../../lib/mini-cc/health/health-client.js';
import { bodyOf, type HttpServer, startHttpServer } from '../../support/http-server.js';
import { clientToken, internalCredentials, type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { recordingLogger } from '../../support/recording-logger.js';
import { ScriptedAgent } from '../../support/scripted-agent.js';

/** One that knows what `known` says, by app guid; over HTTP unless `answer` says otherwise. */
describe('asking the health manager', () => {
  let nats: NatsServer;
  let peer: Peer;
  let server: HttpServer;
  let bus: ReturnType<typeof createNatsBus>;
  let clients: HealthClient[];
  let known: Record<string, Message>;
  let questions: Message[];
  let answer: (request: IncomingMessage, response: ServerResponse) => boolean;

  before(async () => {
    nats = await startNats();
    peer = await Peer.connect(nats.url);
    bus = createNatsBus({ servers: [nats.url], logger: silentLogger });
    await bus.start();
    server = await startHttpServer(async (request, response) => {
      if (answer(request, response)) return;
      const asked = JSON.parse((await bodyOf(request)).toString()) as Message[];
      questions.push(asked);
      response.end(JSON.stringify(known));
    });
  });

  after(async () => {
    await server.stop();
    await bus.stop();
    await peer.close();
    await nats.stop();
  });

  beforeEach(() => {
    clients = [];
    known = {};
    questions = [];
    answer = () => false;
    server.requests.length = 0;
  });

  afterEach(async () => {
    for (const client of clients) await client.close();
  });

  function create(options: Partial<HealthClientOptions> = {}): HealthClient {
    const client = new HealthClient({
      bus,
      url: `${server.url}/anywhere`,
      internalUrl: undefined,
      credentials: internalCredentials,
      timeoutMs: 300,
      logger: silentLogger,
      ...options,
    });
    clients.push(client);
    return client;
  }

  const state = (droplet: string, version = 'v1', more: Message = {}) => ({
    droplet,
    version,
    instance_heartbeats: [],
    crash_counts: [],
    ...more,
  });
  const apps = (...guids: string[]) => guids.map((guid) => ({ guid, version: 'v1' }));
  const answerOnBus = (subject: string, reply: (asked: Message) => unknown): (() => void) => {
    const subscription = peer.connection.subscribe(subject, {
      callback: (_error, message) => {
        const asked = JSON.parse(new TextDecoder().decode(message.data)) as Message;
        questions.push(asked);
        message.respond(new TextEncoder().encode(JSON.stringify(reply(asked))));
      },
    });
    return () => subscription.unsubscribe();
  };

  it('asks for all apps at once, with the internal credentials, at the path of that question', async () => {
    let authorization: string | undefined;
    answer = (request) => {
      authorization = request.headers.authorization;
      return false;
    };
    known = { a: state('a'), b: state('b', 'v0'), c: { droplet: 5 } };
    const states = await create().states(apps('a', 'b', 'c', 'd'));
    expect([...states.keys()]).to.deep.equal(['a']);
    expect(questions).to.deep.equal([['a', 'b', 'c', 'd'].map((droplet) => ({ droplet, version: 'v1' }))]);
    expect(authorization).to.equal(basicAuthorization(internalCredentials));
    expect(server.requests).to.deep.equal(['POST /bulk_app_state']);
  });

  it('asks nobody about no apps', async () => {
    expect((await create().states([])).size).to.equal(0);
    expect(server.requests).to.deep.equal([]);
  });

  it('knows nothing when the answer is an error, cut off, no object, or does not come; and says so once', async () => {
    const faults: ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(500).end('{"a":{}}'),
      (response) => response.writeHead(401).end(),
      (response) => response.end('[]'),
      (response) => response.end('{'),
      (response) => response.destroy(),
      () => {},
    ];
    const { logger, lines } = recordingLogger();
    const client = create({ logger });
    for (const fault of faults) {
      answer = (_request, response) => {
        fault(response);
        return true;
      };
      expect((await client.states(apps('a'))).size).to.equal(0);
    }
    expect(lines.map(({ message }) => message)).to.deep.equal(['mini-cc.health-manager.away']);
    answer = () => false;
    known = { a: state('a') };
    expect((await client.states(apps('a'))).size).to.equal(1);
  });

  it('tries the internal address three times before the other', async () => {
    known = { a: state('a') };
    answer = (request, response) => {
      if (request.headers.host !== `localhost:${server.port}`) return false;
      response.writeHead(503).end();
      return true;
    };
    const client = create({ internalUrl: `http://localhost:${server.port}` });
    expect((await client.states(apps('a'))).size).to.equal(1);
    expect(server.requests).to.have.length(4);
  });

  it('asks on the bus where there is no such path, at most fifty apps a message', async () => {
    answer = (_request, response) => {
      response.writeHead(404).end();
      return true;
    };
    const guids = Array.from({ length: 120 }, (_unused, index) => `app-${index}`);
    const end = answerOnBus('app.state.bulk', (asked) =>
      Object.fromEntries(asked.map(({ droplet }: Message) => [droplet, state(droplet)])),
    );
    const endOne = answerOnBus('app.state', ({ droplet }) => state(droplet));
    await peer.connection.flush();
    try {
      const client = create();
      expect((await client.states(apps(...guids))).size).to.equal(120);
      expect(questions.map(({ length }) => length)).to.deep.equal([50, 50, 20]);
      questions = [];
      expect([...(await client.states(apps('one'))).keys()]).to.deep.equal(['one']);
      expect(questions).to.deep.equal([{ droplet: 'one', version: 'v1' }]);
    } finally {
      end();
      endOne();
    }
    expect((await create().states(apps('a', 'b'))).size).to.equal(0);
  });

  describe('for the client API', () => {
    let cc: RunningMiniCc;
    let agent: ScriptedAgent;
    let guid: string;

    before(async () => {
      cc = await startMiniCc({ natsUrl: nats.url, config: { hm9000: { url: server.url } } });
      agent = await ScriptedAgent.start({ natsUrl: nats.url });
    });

    after(async () => {
      await agent.stop();
      await cc.stop();
    });

    beforeEach(() => {
      agent.instances.length = 0;
      [guid] = cc.insertApps([
        { version: 'v1', state: 'STARTED', package_state: 'STAGED', droplet_hash: 'b658', instances: 3 },
      ]) as [string];
    });

    const beat = (instance: string, index: number, stateName: string) => ({
      instance,
      index,
      state: stateName,
      state_timestamp: 1_435_672_356.5,
    });
    /** An instance that its agent knows of. */
    const run = (index: number, stateName: 'RUNNING' | 'CRASHED' = 'RUNNING') =>
      agent.instances.push({
        droplet: guid,
        version: 'v1',
        instance: `i${index}`,
        index,
        state: stateName,
        since: 7,
        uris: [],
        limits: { mem: 64, disk: 64, fds: 64 },
      });
    const runningOf = async () => (await cc.call('GET', `/v2/apps/${guid}`)).body.running_instances;

    it('counts running instances as the health manager knows them, in one question for a list', async () => {
      const [other] = cc.insertApps([{ version: 'v1', state: 'STARTED', package_state: 'STAGED', instances: 1 }]);
      known = {
        [guid]: state(guid, 'v1', { instance_heartbeats: [beat('a', 0, 'RUNNING'), beat('b', 2, 'STARTING')] }),
        [other!]: state(other!),
      };
      const { resources } = (await cc.call('GET', '/v2/apps')).body;
      const count = (wanted: string) =>
        resources.find(({ guid: found }: Message) => found === wanted).running_instances;
      expect([count(guid), count(other!)]).to.deep.equal([2, 0]);
      expect(server.requests).to.have.length(1);
    });

    it('counts what agents tell when the health manager does not know the app', async () => {
      run(1);
      expect(await runningOf()).to.equal(1);
      known = { [guid]: state(guid, 'v1', { instance_heartbeats: null }) };
      expect(await runningOf()).to.equal(1);
    });

    it('shows flapping indices, does not wait for them, and believes an agent that one of them runs', async () => {
      const counts = [0, 1].map((index) => ({ instance_index: index, crash_count: 3, created_at: 1_435_672_001 }));
      known = { [guid]: state(guid, 'v1', { crash_counts: counts }) };
      run(1);
      run(2);
      const begun = performance.now();
      const { body } = await cc.call('GET', `/v2/apps/${guid}/instances`);
      expect(performance.now() - begun).to.be.below(450);
      expect(body['0']).to.deep.include({
        state: 'FLAPPING',
        since: 1_435_672_001,
        debug_ip: null,
        console_port: null,
      });
      expect([body['1'].state, body['2'].state]).to.deep.equal(['RUNNING', 'RUNNING']);
    });

    it('lists crashed instances as the health manager knows them, else as agents tell', async () => {
      run(0);
      run(1, 'CRASHED');
      const crashes = async () => {
        const response = await fetch(`${cc.url}/v2/apps/${guid}/crashes`, {
          headers: { Authorization: `bearer ${clientToken}` },
        });
        return response.json();
      };
      expect(await crashes()).to.deep.equal([{ instance: 'i1', since: 7 }]);
      known = {
        [guid]: state(guid, 'v1', { instance_heartbeats: [beat('a', 0, 'CRASHED'), beat('b', 1, 'RUNNING')] }),
      };
      expect(await crashes()).to.deep.equal([{ instance: 'a', since: 1_435_672_356.5 }]);
    });
  });
});
