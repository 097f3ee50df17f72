import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { AppRunner, askApp } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { type GardenProcess, startGardenAsWarden } from '../../support/garden.js';
import { type Metron, startMetron } from '../../support/metron.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type OldWarden, startOldWarden } from '../../support/old-warden.js';
import { Peer } from '../../support/peer.js';

describe('a cell beside a Warden whose containers have their root where upstream has it', function () {
  this.timeout(90_000);
  let nats: NatsServer;
  let blobs: BlobServer;
  let metron: Metron;
  let server: GardenProcess;
  let warden: OldWarden;
  let peer: Peer;
  let cell: Cell;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    metron = await startMetron();
    server = await startGardenAsWarden();
    warden = await startOldWarden(server.wardenSocket);
    peer = await Peer.connect(nats.url);
    cell = await makeCell({
      natsUrl: nats.url,
      config: {
        warden_socket: warden.socket,
        containers: { engine: 'warden' },
        loggregator: { router: `127.0.0.1:${metron.port}` },
      },
    });
    await cell.start();
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await warden?.stop();
    await server?.stop();
    await metron?.stop();
    await blobs?.stop();
    await nats?.stop();
  });

  it('runs an app, shows its files, sends its log, and keeps its logs when it crashes', async () => {
    const { id } = await peer.next('dea.advertise');
    const { app, found } = await (await AppRunner.create(peer, blobs)).startAndWait(id);
    expect(await askApp(found, '/log?line=hello')).to.equal('logged');
    await eventually(() => metron.logs(app, 'App').some(({ text }) => text === 'hello') || undefined);

    const [answer] = await peer.request('dea.find.droplet', { droplet: app, path: '/staging_info.yml' });
    const { pathname, search } = new URL(answer!.file_uri_v2);
    const file = await fetch(`http://127.0.0.1:${cell.directoryServerPort}${pathname}${search}`);
    expect(await file.text()).to.include('detected_buildpack: Perl');

    await askApp(found, '/exit?code=4');
    const exit = await peer.next('droplet.exited', ({ droplet }) => droplet === app);
    expect(exit).to.include({ exit_status: 4, exit_description: 'app instance exited' });
    const kept = `${cell.baseDirectory}/base/crashes/${found.instance}/logs/staging_task.log`;
    await eventually(async () => (await readFile(kept, 'utf8').catch(() => '')) === 'staged\n' || undefined);
  });
});
