import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildScript, longestBuildLogBytes, unpackScript } from '../../../lib/dea/staging/staging-script.js';
import { eventually } from '../../support/eventually.js';

describe('the script of a build', () => {
  let directory: string;
  let log: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'a staging script-'));
    log = join(directory, 'the log');
    await writeFile(log, 'before\n');
  });

  afterEach(() => rm(directory, { recursive: true }));

  /** Runs it with a builder of the given lines, as the agent does: on standard input. */
  async function run(builder: string, exports = 'true', onStart: () => Promise<void> = async () => {}) {
    const path = join(directory, 'builder');
    await writeFile(path, `#!/bin/bash\n${builder}\n`, { mode: 0o755 });
    const child = spawn('bash', [], { stdio: ['pipe', 'pipe', 'inherit'] });
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    child.stdin.end(buildScript({ exports, builder: path, config: join(directory, 'plugin config'), log }));
    const [[status]] = await Promise.all([once(child, 'close'), onStart()]);
    return { status: status as number, bytes, log: async () => readFile(log, 'utf8') };
  }

  it('ends with the status of the builder', async () => {
    expect((await run('exit 7')).status).to.equal(7);
    expect((await run('exit 0')).status).to.equal(0);
    expect((await run('kill -KILL $$')).status).to.equal(137);
  });

  it('appends both streams to the log and gives them out, in their order', async () => {
    const { log, bytes } = await run('echo "$1" | grep -c "plugin config"; echo error >&2; echo last');
    expect(await log()).to.equal('before\n1\nerror\nlast\n');
    expect(bytes).to.equal(13);
  });

  it('shows a line as soon as it is printed', async () => {
    const goOn = join(directory, 'go-on');
    await run(`echo first; until [ -e "${goOn}" ]; do sleep 0.05; done; echo second`, 'true', async () => {
      await eventually(async () => ((await readFile(log, 'utf8')).includes('first') ? true : undefined));
      expect(await readFile(log, 'utf8')).not.to.contain('second');
      await writeFile(goOn, '');
    });
  });

  it('keeps the beginning of a log without end, says so, and lets the builder finish', async () => {
    const { status, bytes, log: read } = await run('head -c 100000000 /dev/zero | tr "\\0" x; exit 3');
    expect(status).to.equal(3);
    expect(bytes).to.be.within(longestBuildLogBytes - 7, longestBuildLogBytes + 100_000);
    const { size } = await stat(log);
    expect(size).to.be.within(longestBuildLogBytes, longestBuildLogBytes + 200);
    expect((await read()).slice(-200)).to.match(
      /x\n?-----> The log is cut off here: it has 16 MB, or the disk is full\n$/,
    );
  });

  it('gives the variables to the builder alone', async () => {
    // With this path, nothing of what writes the log would be found.
    const { log } = await run('echo "$PATH $A"', 'export PATH=/nowhere;\nexport A="$PATH";');
    expect(await log()).to.equal('before\n/nowhere /nowhere\n');
  });

  it('ends what escaped from the builder and holds the log open, also when it will not be ended', async () => {
    const pidFile = join(directory, 'pid');
    const { status } = await run(
      `setsid bash -c 'trap "" TERM HUP; echo $$ > "${pidFile}"; while :; do sleep 0.1; done' &
       until [ -s "${pidFile}" ]; do sleep 0.05; done; exit 4`,
    );
    expect(status).to.equal(4);
    const pid = Number(await readFile(pidFile, 'utf8'));
    await eventually(() => {
      try {
        process.kill(pid, 0);
        return undefined;
      } catch {
        return true;
      }
    });
  });

  it('names the size of what was downloaded, wherever it lies', async () => {
    const archive = join(directory, "an 'app'.zip");
    await writeFile(archive, 'x'.repeat(5000));
    const child = spawn('bash', ['-c', unpackScript({ title: 'app package', archive, log, unpack: 'exit 9' })]);
    const [status] = await once(child, 'close');
    expect(status).to.equal(9);
    expect(await readFile(log, 'utf8')).to.equal('before\n-----> Downloaded app package (8.0K)\n');
  });
});
