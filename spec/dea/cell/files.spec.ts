import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, freePort, makeCell } from '../../support/cell.js';
import { type DirServer, runDirServer, untilListening } from '../../support/dir-server.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { type Answer, ask, askWhole } from '../../support/http-client.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

/** What an app of bad will makes in its own directory. */
const traps = `cd "$HOME"
ln -s /etc/passwd passwd
ln -s /home/vcap/logs logs
ln -s ../../../../../../../../../../../../etc/hostname climbing
ln -s /proc/self/root/etc/hostname kernel
ln -s /proc/1/root/etc/hostname init
ln -s loop loop
ln -s ../../../../.. up
mkfifo pipe
mkdir many; for i in 1 2 3; do echo $i > many/$i; done
`;

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('files of a cell with real containers', function () {
  this.timeout(60_000);
  let nats: NatsServer;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let firstPort: number;
  let external: DirServer;
  let externalPort: number;
  let app: Message;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    firstPort = await freePort();
    cell = await makeCell({
      natsUrl: nats.url,
      config: { local_ip: '127.0.0.1', directory_server: { v1_port: firstPort, logging: { level: 'warn' } } },
    });
    await cell.start();
    externalPort = await freePort();
    const config = JSON.parse(await readFile(cell.configPath, 'utf8')) as Message;
    const configPath = join(cell.baseDirectory, 'dir-server.yml');
    config.directory_server.v2_port = externalPort;
    await writeFile(configPath, JSON.stringify(config));
    external = runDirServer([configPath]);
    await untilListening(externalPort);

    const droplet = await makeDroplet();
    app = startMessage({
      sha1: sha1(droplet),
      executableUri: blobs.put('/droplet', droplet),
      start_command: `${traps}exec perl server.pl`,
    });
    peer.publish(`dea.${await peer.cellId()}.start`, app);
    await peer.next('router.register', (data) => data.app === app.droplet, { timeoutMs: 20_000 });
  });

  after(async () => {
    await external?.terminate();
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  const find = (path: string | null): Promise<Message> =>
    eventually(async () => {
      const [found] = await peer.request('dea.find.droplet', { droplet: app.droplet, path });
      return found;
    });

  async function signed(path: string | null): Promise<string> {
    const { pathname, search } = new URL((await find(path)).file_uri_v2);
    return pathname + search;
  }

  /** Of the cell's own directory server, and of one in a process of its own: both must say the same. */
  async function get(path: string | null): Promise<Answer> {
    const url = await signed(path);
    const own = await askWhole({ port: cell.directoryServerPort, path: url });
    const other = await askWhole({ port: externalPort, path: url });
    expect([other.status, other.body]).to.deep.equal([own.status, own.body]);
    return own;
  }

  it('36: lists and serves what the app has made', async () => {
    expect((await get(null)).body).to.match(/^app\/ {41}-$/m);
    expect((await get('/app/many')).body.trimEnd().split('\n')).to.have.length(3);
    expect((await get('/app/many/2')).body).to.equal('2\n');
    expect((await get('/app/logs')).body).to.include('staging_task.log');
  });

  it('37: shows through links what the container sees there, and never a file of the host', async () => {
    const host = await readFile('/etc/hostname', 'utf8');
    for (const [path, status] of [
      ['/app/passwd', 403],
      ['/app/climbing', 403],
      ['/app/up/etc/hostname', 403],
      ['/app/kernel', 404],
      ['/app/init', 404],
      ['/app/loop', 404],
      ['/app/pipe', 500],
      ['/../../../../../etc/hostname', 403],
    ] as const) {
      const answer = await get(path);
      expect(answer.status, path).to.equal(status);
      expect(answer.body, path).not.to.include(host);
    }
  });

  it('tails what the app writes', async () => {
    await writeLine('first');
    for (const port of [cell.directoryServerPort, externalPort]) {
      const tail = await ask({ port, path: `${await signed('/app/many/1')}&tail&tail_offset=0` });
      expect(String((await once(tail, 'data'))[0])).to.match(/^1\n/);
      const news = once(tail, 'data');
      await writeLine('more');
      expect(String((await news)[0])).to.include('more');
      tail.destroy();
    }
  });

  /** From the host, into the file as the container has it. */
  async function writeLine(text: string): Promise<void> {
    const { body } = await askWhole({ port: cell.fileApiPort, path: await signed('/app/many/1') });
    await writeFile(JSON.parse(body).instance_path, `${text}\n`, { flag: 'a' });
  }

  it('serves the directory server of 2013 to who has the credentials of a find response', async () => {
    const found = await find(null);
    expect(found.file_uri).to.equal(`http://127.0.0.1:${firstPort}/instances`);
    expect(found.credentials).to.have.length(2);
    for (const word of found.credentials) expect(word).to.match(/^[0-9a-f]{32}$/);
    const path = `/instances${found.staged}/app/many`;
    const authorization = `Basic ${Buffer.from(found.credentials.join(':')).toString('base64')}`;
    const answer = await askWhole({ port: firstPort, path, headers: { Authorization: authorization } });
    expect(answer.status).to.equal(200);
    expect(answer.body.split('\n')).to.have.length(3);
    expect((await askWhole({ port: firstPort, path })).status).to.equal(401);
    const trap = await askWhole({
      port: firstPort,
      path: `/instances${found.staged}/app/passwd`,
      headers: { Authorization: authorization },
    });
    expect([trap.status, trap.body]).to.deep.equal([403, 'Not accessible\n']);
    expect((await peer.next('dea.start')).port).to.equal(firstPort);
  });
});
