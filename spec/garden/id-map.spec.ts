import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { busyboxLayer } from '../support/busybox-image.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { tarOf, writeLayout } from '../support/image-layout.js';
import { stackRootfs } from '../support/stack.js';
import { runtimes } from '../support/variants.js';

const rootOutside = 4_294_967_294;
const firstUser = 700_000;
const firstGroup = 800_000;
const length = 60_000;
const configuration = {
  uid_map_start: firstUser,
  uid_map_length: length,
  gid_map_start: firstGroup,
  gid_map_length: length,
};

for (const runtime of runtimes) {
  describe(`bin/garden with ${runtime}, told who users of containers are on the host`, function () {
    this.timeout(120_000);
    let garden: GardenProcess;
    let client: GardenClient;
    let scratch: string;

    before(async () => {
      garden = await startGarden({ runtime, ...configuration });
      client = new GardenClient(garden.socket);
      scratch = mkdtempSync(join(tmpdir(), 'ids-'));
    });

    after(async () => {
      await garden.stop();
      rmSync(scratch, { recursive: true });
    });

    afterEach(() => client.destroyAll());

    const rootfs = (handle: string) => join(garden.depot, '@run', handle, 'rootfs');
    const onHost = (handle: string, path: string) => {
      const { uid, gid } = statSync(join(rootfs(handle), path));
      return { uid, gid };
    };
    const mapsIn = async (handle: string) =>
      (await client.read(handle, 'cat /proc/self/uid_map /proc/self/gid_map'))
        .trim()
        .split('\n')
        .map((line) => line.trim().split(/\s+/).map(Number));

    it('maps them so, and root as ever', async () => {
      await client.create({ handle: 'c' });
      expect(await mapsIn('c')).to.deep.equal([
        [0, rootOutside, 1],
        [1, firstUser, length],
        [0, rootOutside, 1],
        [1, firstGroup, length],
      ]);
      await client.run('c', { path: 'sleep', args: ['1000'], user: 'vcap', id: 'p' });
      const pid = readFileSync(join(garden.depot, '@run/c/processes/p/pid'), 'utf8');
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(/^Uid:\t(\d+)/m.exec(status)?.[1]).to.equal(String(firstUser + 1999));
      expect(/^Gid:\t(\d+)/m.exec(status)?.[1]).to.equal(String(firstGroup + 1999));
    });

    it('gives files of the root file system, new ones and streamed ones to them', async () => {
      await client.create({ handle: 'c' });
      const owner = (paths: string) => client.read('c', `stat -c '%U:%G %a' ${paths}`);
      expect(await owner('/ /home/vcap /usr/bin/passwd /etc/shadow')).to.equal(
        'root:root 755\nvcap:vcap 755\nroot:root 4755\nroot:shadow 640\n',
      );
      expect(await client.read('c', 'find / -xdev -nouser -o -xdev -nogroup | head')).to.equal('');
      await client.read('c', 'touch made', { user: 'vcap' });
      const tar = await tarOf([{ name: 'brought', content: 'x' }]);
      expect((await client.streamIn('c', { user: 'vcap', destination: '/home/vcap' }, tar)).status).to.equal(200);
      for (const name of ['made', 'brought', '.']) {
        expect(onHost('c', `home/vcap/${name}`), name).to.deep.equal({ uid: firstUser + 1999, gid: firstGroup + 1999 });
      }
      expect(onHost('c', 'etc/hosts')).to.deep.equal({ uid: rootOutside, gid: rootOutside });
      expect((await client.streamOut('c', { user: 'vcap', source: '/home/vcap/made' })).status).to.equal(200);
    });

    it('gives them the terminal of their processes', async () => {
      await client.create({ handle: 'c' });
      const script = 'until [ -w "$(tty)" ]; do :; done; stat -c %U "$(tty)"';
      const { stdout } = await client.exec('c', script, { user: 'vcap', tty: {} });
      expect(stdout).to.equal('vcap\r\n');
    });

    it('unpacks images for them, and refuses those with others', async () => {
      const layout = async (name: string, uid: number, gid: number) => {
        const directory = join(scratch, name);
        writeLayout(directory, [await busyboxLayer({ name: 'file', content: 'x', uid, gid })]);
        return { uri: `oci://${directory}` };
      };
      await client.create({ handle: 'c', image: await layout('known', length, 7) });
      expect(await client.read('c', 'stat -c %u:%g /file')).to.equal(`${length}:7\n`);
      expect(onHost('c', 'file')).to.deep.equal({ uid: firstUser + length - 1, gid: firstGroup + 6 });
      // A process may have it as its own image, too.
      const image = await layout('other', 5, length);
      const { stdout } = await client.exec('c', 'stat -c %u:%g /file', { image });
      expect(stdout).to.equal(`5:${length}\n`);
      for (const [name, uid, gid] of [
        ['strange-user', length + 1, 0],
        ['strange-group', 0, length + 1],
      ] as const) {
        const failure = await client
          .create({ handle: 'd', image: await layout(name, uid, gid) })
          .catch((error: Error) => error.message);
        expect(failure, name).to.include(`"file": it belongs to ${uid}:${gid}, who is beyond the ids of containers`);
      }
      expect(await client.handles()).to.deep.equal(['c']);
    });

    it('leaves privileged containers as they are', async () => {
      await client.create({ handle: 'p', privileged: true });
      expect(await client.read('p', 'stat -c %U /home/vcap')).to.equal('vcap\n');
      expect(onHost('p', 'home/vcap')).to.deep.equal({ uid: 2000, gid: 2000 });
    });

    it('keeps the map of a container when it is told another one', async () => {
      await client.create({ handle: 'old' });
      await garden.restart({ uid_map_start: 1_000_000 });
      await client.create({ handle: 'new' });
      expect((await mapsIn('old'))[1]).to.deep.equal([1, firstUser, length]);
      expect((await mapsIn('new'))[1]).to.deep.equal([1, 1_000_000, length]);
      for (const handle of ['old', 'new']) {
        const script = 'until [ -w "$(tty)" ]; do :; done; stat -c %U "$(tty)" /home/vcap';
        const { stdout } = await client.exec(handle, script, { user: 'vcap', tty: {} });
        expect(stdout, handle).to.equal('vcap\r\nvcap\r\n');
        const pea = await client.exec(handle, 'stat -c %U /home/vcap', { image: { uri: stackRootfs() } });
        expect(pea.stdout, handle).to.equal('vcap\n');
      }
      await garden.restart({ uid_map_start: firstUser });
    });
  });
}
