import { access, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { askApp } from '../support/app-runner.js';
import { eventually } from '../support/eventually.js';
import type { Message } from '../support/peer.js';
import { makeStandalone, type StandaloneProcess } from '../support/standalone-process.js';

describe('standalone', function () {
  this.timeout(120_000);
  let standalone: StandaloneProcess;
  let guid: string;

  before(async () => {
    standalone = await makeStandalone();
    await standalone.start();
    const app = { name: 'hello', routes: ['hello.localhost'], memory: 64, disk_quota: 128 };
    guid = (await standalone.call('POST', '/v2/apps', app)).body.guid;
    await standalone.uploadBits(guid, 'spec/fixtures/apps/procfile');
    expect((await standalone.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' })).status).to.equal(201);
  });

  after(() => standalone.dispose());

  /** The app's process as it says itself. */
  const untilAnswering = (fits: (process: Message) => boolean = () => true) =>
    eventually(
      async () => {
        const { body } = await standalone.call('GET', `/v2/apps/${guid}/stats`);
        const found = body['0'];
        if (!found?.stats) throw new Error(`the app does not run: ${JSON.stringify(body)}`);
        const process = JSON.parse(await askApp(found, '/')) as Message;
        return fits(process) ? { found, process } : undefined;
      },
      { timeoutMs: 60_000, what: 'an answer of the app' },
    );

  it('keeps the last lines that apps, stagings, cell and Cloud Controller said', async () => {
    await untilAnswering();
    const lines = await eventually(
      async () => {
        const { resources } = (await standalone.call('GET', `/v2/apps/${guid}/logs/recent`)).body;
        return resources.some(({ source_type }: Message) => source_type === 'App') ? resources : undefined;
      },
      { what: 'a line of the app' },
    );
    const said = (source: string) =>
      lines.filter(({ source_type }: Message) => source_type === source).map(({ message }: Message) => message);
    expect(said('API')[0]).to.equal(`Created app with guid ${guid}`);
    expect(said('STG')).to.include('-----> procfile app');
    expect(said('DEA').join()).to.contain('Starting app instance (index 0)');
    expect(said('App').join()).to.contain('listening on port');
  });

  it('replaces an app process that is killed', async () => {
    const { found, process } = await untilAnswering();
    await askApp(found, '/signal?name=KILL');
    await untilAnswering(({ pid }) => pid !== process.pid);
    const { body } = await standalone.call('GET', `/v2/apps/${guid}`);
    expect(body).to.include({ state: 'STARTED', package_state: 'STAGED' });
  });

  it('has its apps back after a restart, without anybody asking for them', async () => {
    expect(await standalone.interrupt()).to.equal(0);
    await standalone.start();
    expect(standalone.output).to.match(/health +brings back/);
    await untilAnswering();
    const counted = async () => (await standalone.call('GET', `/v2/apps/${guid}`)).body.running_instances;
    await eventually(async () => ((await counted()) === 1 ? true : undefined), { what: 'one running instance' });
  });

  it('takes its message bus along when it is killed, and finds its apps running at the next start', async () => {
    const { process } = await untilAnswering();
    const bus = await busOf(standalone.pid);
    await standalone.kill();
    await eventually(async () => ((await isThere(bus)) ? undefined : true), { what: 'the end of the message bus' });
    await standalone.start();
    await untilAnswering(({ pid }) => pid === process.pid);
  });

  /** Process id of the server that it has started. */
  async function busOf(parent: number): Promise<number> {
    const children = (await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8')).trim().split(' ').map(Number);
    const names = await Promise.all(children.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8')));
    const bus = children[names.findIndex((name) => name.trim() === 'nats-server')];
    if (bus === undefined) throw new Error(`no nats-server among ${names}`);
    return bus;
  }

  const isThere = (pid: number) =>
    access(`/proc/${pid}`).then(
      () => true,
      () => false,
    );
});
