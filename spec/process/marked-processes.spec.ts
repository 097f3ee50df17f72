import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { isRunning } from '../../lib/process/identity.js';
import { killAll, parseStat, processesByMark } from '../../lib/process/marked-processes.js';
import { eventually } from '../support/eventually.js';
import { specProgram } from '../support/typescript.js';

describe('processes with a mark', () => {
  const numbers = '10 11 12 0 -1 4194560 100 0 0 0 5 6 7 8 20 0 3 0 5000 123456 42 18446744073709551615 1 1 0';

  it('decodes a process whose name has blanks and parentheses', () => {
    expect(parseStat(`9 (a) b (c)) S ${numbers}\n`)).to.deep.equal({
      pid: 9,
      parentPid: 10,
      sessionId: 12,
      startTime: 5000,
      rssBytes: 42 * 4096,
      cpuNs: 26 * 10_000_000,
      threads: 3,
    });
  });

  it('does not count a process of which only the exit status is left', () => {
    expect(parseStat(`9 (x) Z ${numbers}\n`)).to.equal(undefined);
  });

  describe('on this machine', () => {
    const variable = 'ISTHMUS_SPEC_MARK';
    const mark = randomUUID();
    let child: ChildProcess | undefined;
    const members = () => processesByMark(variable).get(mark) ?? [];
    const start = (script: string) => {
      child = spawn('sh', ['-c', script], {
        env: { ...process.env, [variable]: mark },
        detached: true,
        stdio: 'ignore',
      });
    };
    afterEach(() => killAll(members, { timeoutMs: 5_000 }));

    it('are those that were started with it, what descends from them and what sits in their sessions', async () => {
      start(
        'env -u ISTHMUS_SPEC_MARK sh -c "sleep 600 & exit" & env -u ISTHMUS_SPEC_MARK setsid sleep 600 & wait; sleep 600',
      );
      const found = await eventually(() => {
        const all = members();
        return all.length >= 3 && all.some(({ sessionId, pid }) => sessionId === pid && pid !== child!.pid)
          ? all
          : undefined;
      });
      expect(found.map(({ pid }) => pid)).to.include(child!.pid);
    });

    for (const [session, wrapper] of [
      ['of another process namespace', ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--']],
      ['whose leader is gone', ['setsid', 'sh', '-c', '"$@" &', 'sh']],
    ] as const) {
      it(`are not others that sit in a session with them, ${session}`, async () => {
        const [program, ...args] = [...wrapper, process.execPath, ...specProgram('spec/support/marked-child.ts')];
        child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        expect(JSON.parse(await text(child.stdout!))).to.deep.equal({ marked: ['marked'], isStrangerAlive: true });
      });
    }

    it('are killed to the last, also such as fork and end all the time', async () => {
      start('f() { sleep 0.01; f & }; f & f & f; sleep 600');
      const first = await eventually(() => {
        const all = members();
        return all.length > 2 ? all : undefined;
      });
      expect(await killAll(members, { timeoutMs: 5_000 })).to.equal(true);
      expect(first.some(isRunning)).to.equal(false);
      expect(members()).to.deep.equal([]);
    });
  });
});
