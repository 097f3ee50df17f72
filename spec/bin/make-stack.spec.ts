import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { stackRootfs } from '../support/stack.js';

/**
 * Stands in for debootstrap, so that no spec needs a mirror: it copies a finished stack, without what bin/make-stack
 * itself adds. With `STAY_HALFWAY` it stays in the middle of its work.
 */
const debootstrap = `#!/bin/sh
for target; do :; done
echo "I: Retrieving InRelease"
cp -a "$STACK/etc" "$target/"
[ -z "$STAY_HALFWAY" ] || exec sleep 600
# Programs as hard links: they are only read, and it is so much faster.
cp -al "$STACK/usr" "$target/" || cp -a "$STACK/usr" "$target/"
for name in "$STACK"/*; do [ "$name" = "$STACK/usr" ] || cp -a "$name" "$target/"; done
cd "$target" || exit 1
sed -i /^vcap:/d etc/passwd etc/group etc/shadow etc/gshadow
rm -rf home/vcap etc/isthmus-stack
[ -z "$FAIL" ] || { echo "E: no such mirror"; exit 1; }
`;

describe('bin/make-stack', function () {
  this.timeout(60_000);
  let directory: string;
  let target: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'make-stack-'));
    target = join(directory, 'stack');
    await mkdir(join(directory, 'bin'));
    await writeFile(join(directory, 'bin/debootstrap'), debootstrap, { mode: 0o755 });
  });

  afterEach(() => rm(directory, { recursive: true }));

  function start(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    return spawn('bin/make-stack', args, {
      env: { ...process.env, PATH: `${directory}/bin:${process.env.PATH}`, STACK: stackRootfs(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async function run(args: string[], env: NodeJS.ProcessEnv = {}) {
    const child = start(args, env);
    const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
    return { status: child.exitCode, stdout, stderr };
  }

  const leftovers = async () => (await readdir(directory)).filter((name) => /\.(making|old)\./.test(name));

  it('makes a root filesystem with the user vcap, and tells what it does', async () => {
    const { status, stdout } = await run([target]);
    expect(status).to.equal(0);
    expect(stdout).to.match(/^\[ +\d+s\] adding the user vcap$/m);
    expect(await readFile(join(target, 'etc/passwd'), 'utf8')).to.match(
      /^vcap:x:2000:2000:.*:\/home\/vcap:\/bin\/bash$/m,
    );
    expect(await stat(join(target, 'home/vcap'))).to.include({ uid: 2000, gid: 2000 });
    expect(await leftovers()).to.deep.equal([]);
  });

  it('does nothing the second time, and refuses to replace another stack unasked', async () => {
    await run([target]);
    const { ino } = await stat(target);
    expect((await run([target])).stdout).to.equal(`${target} is up to date\n`);
    const other = await run([target, '--packages', 'file']);
    expect(other.status).to.equal(1);
    expect(other.stderr).to.match(/holds another stack .* --packages file --force/);
    expect((await stat(target)).ino).to.equal(ino);

    expect((await run([target, '--packages', 'file', '--force'])).status).to.equal(0);
    expect((await stat(target)).ino).not.to.equal(ino);
    expect(await readFile(join(target, 'etc/isthmus-stack'), 'utf8')).to.match(/^packages=.*\bfile\b/m);
    expect(await leftovers()).to.deep.equal([]);
  });

  it('leaves nothing that looks finished when it is killed; the next run clears up', async () => {
    const child = start([target], { STAY_HALFWAY: '1' });
    await eventually(async () => expect(await leftovers()).not.to.deep.equal([]));
    await eventually(async () => {
      const [build] = (await leftovers()).filter((name) => !name.endsWith('.log') && !name.endsWith('.messages'));
      return existsSync(join(directory, build!, 'etc/passwd')) || undefined;
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(target)).to.equal(false);

    const { status, stdout } = await run([target]);
    expect(status).to.equal(0);
    expect(stdout).to.match(/removing leftovers of an interrupted build/);
    expect(await leftovers()).to.deep.equal([]);
  });

  it('clears up at once when it is told to end', async () => {
    const child = start([target], { STAY_HALFWAY: '1' });
    await eventually(async () => expect(await leftovers()).not.to.deep.equal([]));
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(child.exitCode).to.equal(143);
    expect(await leftovers()).to.deep.equal([]);
  });

  it('is run twice at once without harm', async () => {
    const results = await Promise.all([run([target]), run([target])]);
    expect(results.map(({ status }) => status)).to.deep.equal([0, 0]);
    expect(results.filter(({ stdout }) => stdout.includes('waiting for it')).length).to.equal(1);
    expect(await leftovers()).to.deep.equal([]);
  });

  it('shows why debootstrap failed, and leaves nothing', async () => {
    const { status, stderr } = await run([target], { FAIL: '1' });
    expect(status).to.equal(1);
    expect(stderr).to.match(/E: no such mirror/);
    expect(existsSync(target)).to.equal(false);
    expect(await leftovers()).to.deep.equal([]);
  });

  it('touches no directory that it did not make', async () => {
    await mkdir(target);
    await writeFile(join(target, 'precious'), '');
    for (const force of [[], ['--force']]) {
      const { status, stderr } = await run([target, ...force]);
      expect(status).to.equal(1);
      expect(stderr).to.match(/is not empty and was not made by make-stack/);
    }
    expect(await readdir(target)).to.deep.equal(['precious']);
  });

  it('names what is wrong with its arguments', async () => {
    expect((await run([])).stderr).to.match(/^Usage: make-stack DIR/);
    expect((await run([target, '--suite', '../x'])).stderr).to.match(/--suite: '\.\.\/x' is no name of a release/);
    expect((await run([target, '--packages', 'a, b'])).stderr).to.match(/--packages: 'a, b' is no list/);
    expect((await run([target, '--nonsense'])).stderr).to.match(/unknown option --nonsense/);
    expect(existsSync(target)).to.equal(false);
  });
});
