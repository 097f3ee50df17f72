import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createOciEngine } from '../../lib/containers/oci/oci-engine.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { commandLineOf } from '../../lib/process/identity.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { expectNothingLeft, thingsOfEngine } from '../support/leaks.js';
import { makeOciSettings } from '../support/oci.js';

/** What the runtime is given to start anything, and how long a request may take that needs it and its clean-up. */
const timeoutSeconds = 3;
const answerMs = 30_000;
/** Arguments of `sleep` by which programs of this run are known. */
const hang = `10${process.pid}`;
const work = `20${process.pid}`;

/** Stands before the real one and does what a file beside it says. */
const wrapper = `#!/bin/sh
fault=$(cat "$(dirname "$0")/fault" 2>/dev/null)
case " $* " in
*" run "* | *" exec "*)
  case $fault in
  hangs) env -i sleep ${hang}; exit 1 ;;
  'hangs in the end') /usr/bin/crun "$@"; sleep ${hang}; exit 1 ;;
  dies) kill -KILL $$ ;;
  'dies in the end') /usr/bin/crun "$@"; kill -KILL $$ ;;
  'is not to be executed') exec /nonexistent ;;
  esac ;;
esac
exec /usr/bin/crun "$@"
`;

describe('bin/garden with a runtime that fails', function () {
  this.timeout(60_000);
  let directory: string;
  let garden: GardenProcess;
  let client: GardenClient;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'runtime-'));
    writeFileSync(join(directory, 'crun'), wrapper);
    chmodSync(join(directory, 'crun'), 0o755);
    garden = await startGarden(
      { runtime: 'crun', runtime_timeout: timeoutSeconds, spares: 0 },
      { env: { PATH: `${directory}:${process.env.PATH}` } },
    );
    client = new GardenClient(garden.socket);
    await client.create({ handle: 'old' });
  });

  afterEach(() => setFault(''));

  after(async () => {
    await garden.stop();
    rmSync(directory, { recursive: true });
  });

  const setFault = (fault: string) => writeFileSync(join(directory, 'fault'), fault);
  const timed = async (work: () => Promise<unknown>) => {
    const begunAt = performance.now();
    const failure = await work().then(
      () => 'no error',
      (error: Error) => error.message,
    );
    return { failure, tookMs: performance.now() - begunAt };
  };
  /** What the engine and the runtime have started, without the init of the container that stays. */
  const strays = () => {
    const sleeping = readdirSync('/proc')
      .map((name) => commandLineOf(Number(name)).join(' '))
      .filter((command) => command === `sleep ${hang}` || command === `sleep ${work}`);
    const { processes } = thingsOfEngine(garden.depot);
    return [...sleeping, ...processes.filter((line) => !line.includes('/tmp/garden-init')), processes.length];
  };

  for (const [fault, reason] of [
    ['hangs', /within 3 s/],
    ['hangs in the end', /within 3 s/],
    ['dies', /crun|conmon/],
    ['dies in the end', /crun|conmon|process/],
    ['is not to be executed', /crun|conmon|runtime/],
  ] as const) {
    it(`says so when it ${fault}, serves others meanwhile, and leaves nothing`, async () => {
      const long = await client.run('old', { path: 'sh', args: ['-c', 'read -r line; exit 7'] });
      setFault(fault);
      const [create, run] = [
        timed(() => client.create({ handle: 'new' })),
        timed(() => client.run('old', { path: 'sh', args: ['-c', `sleep ${work} & sleep ${work}`], id: 'new' })),
      ];
      // What needs no runtime is answered as ever.
      expect(await client.call('GET', '/ping')).to.have.property('status', 200);
      expect(await client.info('old')).to.have.property('State', 'active');
      expect((await client.streamOut('old', { source: '/etc/hostname' })).status).to.equal(200);
      for (const { failure, tookMs } of await Promise.all([create, run])) {
        expect(failure).to.match(reason);
        expect(tookMs).to.be.below(answerMs);
      }
      expect(await client.handles()).to.deep.equal(['old']);
      expect((await client.info('old')).ProcessIDs).to.have.lengthOf(1);

      setFault('');
      expect((await client.exec('old', 'exit 3')).status).to.equal(3);
      long.send('{"source":0,"data":"go\\n"}');
      expect((await long.ended()).payloads.at(-1)).to.include({ exit_status: 7 });
      await eventually(() => expect(strays()).to.deep.equal([1]) && true);
    });
  }

  it('keeps the engine from starting when it hangs then, and leaves nothing', async () => {
    const path = process.env.PATH;
    process.env.PATH = `${directory}:${path}`;
    setFault('hangs in the end');
    const settings = await makeOciSettings();
    const { depotDirectory } = settings;
    const options = { runtime: 'crun' as const, runtimeTimeoutMs: timeoutSeconds * 1000, userNamespaces: false };
    const engine = createOciEngine({ ...settings, ...options, logger: silentLogger });
    try {
      const { failure } = await timed(() => engine.start());
      expect(failure).to.match(/no container runtime works on this host: crun: .* within 3 s/);
    } finally {
      process.env.PATH = path;
      await engine.release();
    }
    await expectNothingLeft(depotDirectory);
    rmSync(join(depotDirectory, '..'), { recursive: true });
  });

  it('does not wait for it when a container is destroyed', async () => {
    setFault('hangs');
    const { failure, tookMs } = await timed(() => client.destroyAll());
    expect({ failure }).to.deep.equal({ failure: 'no error' });
    expect(tookMs).to.be.below(answerMs);
  });
});
