import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { extract, pack } from 'tar-stream';
import type { Container } from '../../../lib/containers/engine.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

const longDirectory = 'd'.repeat(120);
const longName = 'ü'.repeat(90);
const longTarget = 't'.repeat(140);

for (const runtime of runtimes) {
  describe(`files streamed into and out of a container made with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    let container: Container;
    let scratch: string;

    const output = async (text: string, user = 'root') => (await runToEnd(container, script(text, { user }))).stdout;
    const archive = (files: Record<string, string> = { f: 'x' }) => {
      const tar = pack();
      for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
      tar.finalize();
      return tar as unknown as Readable;
    };
    const failure = async (options: { path: string; user?: string; tar?: Readable }) =>
      ((await failureOf(container.streamIn({ tar: archive(), ...options }))) as Error).message;
    const names = async (options: { path: string; user?: string }) => {
      const extraction = extract();
      (await container.streamOut(options)).pipe(extraction);
      const found: string[] = [];
      for await (const entry of extraction) {
        found.push(entry.header.name);
        entry.resume();
      }
      return found;
    };

    before(async () => {
      subject = await startOciEngine({ runtime });
      scratch = mkdtempSync(join(tmpdir(), 'streams-'));
    });

    after(async () => {
      await subject.dispose();
      rmSync(scratch, { recursive: true });
    });

    beforeEach(async () => {
      container = await subject.engine.create({ rootfs: subject.rootfs });
    });

    afterEach(async () => {
      await subject.engine.destroy(container.handle);
    });

    it('belong to their user, by name or number, at a path that may be relative to the home', async () => {
      await container.streamIn({ path: 'new/place', user: 'vcap', tar: archive() });
      await container.streamIn({ path: '/home/vcap/other', user: '2000', tar: archive() });
      await container.streamIn({ path: 'tmp/homeless', user: '0:0', tar: archive() });
      await container.streamIn({ path: 'in-home', tar: archive() });
      expect(await output('cd /home/vcap; stat -c "%U %a" new new/place new/place/f other/f')).to.equal(
        'vcap 755\nvcap 755\nvcap 644\nvcap 644\n',
      );
      expect(await output('stat -c %U /root/tmp/homeless/f /root/in-home/f')).to.equal('root\nroot\n');
    });

    it('keep long names, links and extended attributes, and lend nobody’s rights', async () => {
      const source = join(scratch, 'source');
      mkdirSync(join(source, longDirectory), { recursive: true });
      writeFileSync(join(source, longDirectory, longName), 'long');
      symlinkSync(longTarget, join(source, 'link'));
      copyFileSync('/bin/true', join(source, 'lending'));
      chmodSync(join(source, 'lending'), 0o6777);
      copyFileSync('/bin/true', join(source, 'capable'));
      execFileSync('setcap', ['cap_net_raw+ep', join(source, 'capable')]);
      execFileSync('setfattr', ['-n', 'user.odd', '-v', 'a\\b "c"', join(source, 'lending')]);
      const args = ['--format=posix', '--xattrs', '--xattrs-include=*', '-C', source, '-cf', '-', '.'];
      const tar = execFileSync('tar', args, { maxBuffer: 10_000_000 });

      await container.streamIn({ path: '/home/vcap/in', tar: Readable.from([tar]) });
      const place = '/home/vcap/in';
      expect(await output(`cat ${place}/${longDirectory}/*; echo; readlink ${place}/link`)).to.equal(
        `long\n${longTarget}\n`,
      );
      expect(await output(`stat -c %a ${place}/lending`)).to.equal('755\n');
      const attribute = (name: string, file: string) =>
        output(`python3 -c 'import os; print(os.getxattr("${place}/${file}", "${name}"))'`);
      expect(await attribute('user.odd', 'lending')).to.equal(`b'a\\\\b "c"'\n`);
      // The kernel writes it anew for the user namespace, and shows it there as it was.
      expect(await attribute('security.capability', 'capable')).to.include('x01\\x00\\x00\\x02');

      const before = statSync('/dev/null').uid;
      await container.streamIn({ path: '/home/vcap/own', user: 'vcap', tar: Readable.from([tar]) });
      expect(statSync('/dev/null').uid).to.equal(before);
      expect(await output('stat -c "%U %a" /home/vcap/own/lending')).to.equal('vcap 755\n');
    });

    it('arrive whole in whatever pieces they come, whatever follows them', async () => {
      const tar = await buffer(archive({ a: 'A'.repeat(700), b: 'B'.repeat(5_000) }));
      const pieces = Array.from({ length: Math.ceil(tar.length / 97) }, (_, index) =>
        tar.subarray(index * 97, index * 97 + 97),
      );
      let isDrained = false;
      const garbage = Array.from({ length: 40 }, () => Buffer.alloc(65_536, 'g'));
      const stream = Readable.from([...pieces, ...garbage]).on('end', () => {
        isDrained = true;
      });
      await container.streamIn({ path: '/tmp/pieces', tar: stream });
      expect(await output('cat /tmp/pieces/a /tmp/pieces/b | wc -c')).to.equal('5700\n');
      await new Promise<void>((resolve) => {
        if (isDrained) resolve();
        else stream.once('end', resolve);
      });
    });

    it('are refused with upstream’s words and the reason', async () => {
      await output('ln -s /nowhere /tmp/dangling');
      const prefix = 'stream-in: nstar: error streaming in: ';
      const reasons: [options: Parameters<typeof failure>[0], reason: string][] = [
        [{ path: '/tmp', user: 'batman' }, 'unable to find user batman'],
        [{ path: '/etc', user: 'vcap' }, 'Permission denied'],
        [{ path: '/etc/passwd' }, 'not a directory'],
        [{ path: '/tmp/dangling' }, 'no such file or directory'],
        [{ path: '' }, 'no destination'],
        [{ path: '/tmp/empty', tar: Readable.from([]) }, 'tar: '],
        [{ path: '/tmp/garbage', tar: Readable.from([Buffer.alloc(5_000, 'no tar ')]) }, 'tar: '],
      ];
      for (const [options, reason] of reasons) {
        const message = await failure(options);
        expect(message, JSON.stringify(options.path)).to.include(reason);
        expect(message.startsWith(prefix)).to.equal(true);
      }
      const whole = await buffer(archive({ big: 'x'.repeat(50_000) }));
      expect(await failure({ path: '/tmp/cut', tar: Readable.from([whole.subarray(0, 20_000)]) })).to.include(prefix);
    });

    it('do not wait for a shell of the container, nor for its processes', async () => {
      await output('rm -rf /bin/* /usr/bin/tar /usr/bin/sh /usr/bin/dash /usr/bin/bash');
      await container.stop({ kill: true });
      await container.streamIn({ path: '/tmp/stopped', tar: archive() });
      expect(await names({ path: '/tmp/stopped/' })).to.deep.equal(['./', './f']);
    });

    it('come out as they are named, from the home when nothing is', async () => {
      await container.streamIn({ path: '/home/vcap/d', user: 'vcap', tar: archive() });
      expect(await names({ path: '/home/vcap/d' })).to.deep.equal(['d/', 'd/f']);
      expect(await names({ path: '/home/vcap/d/' })).to.deep.equal(['./', './f']);
      expect(await names({ path: 'd/f', user: 'vcap' })).to.deep.equal(['f']);
      expect(await names({ path: '', user: 'vcap' })).to.include.members(['./', './d/f']);
      expect(await failureOf(container.streamOut({ path: '/home/vcap/none/' }))).to.be.instanceOf(Error);
      expect(await output('ls -d /home/vcap/none 2>/dev/null; echo')).to.equal('\n');
    });
  });
}
