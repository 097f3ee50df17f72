import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';

describe('bin/garden, told to clean up processes on wait', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;

  before(async () => {
    garden = await startGarden({ cleanup_process_dirs_on_wait: true });
    client = new GardenClient(garden.socket);
  });

  after(() => garden.stop());

  beforeEach(() => client.create({ handle: 'c' }));

  afterEach(() => client.destroyAll());

  const untilForgotten = (id: string) =>
    eventually(async () => (await client.call('GET', `/containers/c/processes/${id}`)).status === 404 || undefined);

  it('forgets a process once its exit status was delivered, and gives its id again', async () => {
    for (let round = 0; round < 3; round += 1) {
      const spec = { path: 'sh', args: ['-c', `echo ${round}; exit ${round}`], id: 'p' };
      expect(await client.exec('c', spec)).to.deep.equal({ status: round, stdout: `${round}\n`, stderr: '' });
      await untilForgotten('p');
    }
    await eventually(() => !existsSync(join(garden.depot, '@run/c/processes/p')) || undefined);
    expect(existsSync(join(garden.depot, '@output/c/p'))).to.equal(false);
  });

  it('gives everyone who was attached the exit status and all of the output, also who asks for it late', async () => {
    const script = 'read -r line; seq 1 100000; exit 12';
    const first = await client.run('c', { path: 'sh', args: ['-c', script], id: 'p' });
    const others = await Promise.all(Array.from({ length: 5 }, () => client.attach('c', 'p')));
    const early = await client.output('c', others[0]!, 'stdout');
    first.send('{"source":0,"data":"go\\n"}');
    for (const one of [first, ...others]) expect((await one.ended()).payloads.at(-1)).to.include({ exit_status: 12 });
    await untilForgotten('p');
    const late = await Promise.all([first, ...others.slice(1)].map((one) => client.output('c', one, 'stdout')));
    const expected = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join('');
    for (const output of [early, ...late]) expect((await output.ended(30_000)).rest === expected).to.equal(true);
  });

  it('keeps what runs, and what nobody was told of', async () => {
    const conversation = await client.run('c', { path: 'sh', args: ['-c', 'read -r line; exit 4'], id: 'p' });
    conversation.close();
    await eventually(async () => (await client.info('c')).ProcessIDs === null || undefined);
    const attached = await client.attach('c', 'p');
    expect((await attached.ended()).payloads.at(-1)).to.include({ exit_status: 4 });
    await untilForgotten('p');
  });
});
