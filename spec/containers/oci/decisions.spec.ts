import { expect } from 'chai';
import { InvalidSpecError, UnknownUserError } from '../../../lib/containers/errors.js';
import { checkContainerSpec } from '../../../lib/containers/oci/container-spec.js';
import type { ContainerState } from '../../../lib/containers/oci/container-state.js';
import { GraceTimer } from '../../../lib/containers/oci/grace-timer.js';
import { judge } from '../../../lib/containers/oci/recovery.js';
import { privilegedCapabilities } from '../../../lib/containers/oci/runtime/capabilities.js';
import { hostsFileContent, resolvConfContent } from '../../../lib/containers/oci/runtime/host-files.js';
import { parseHardLimits, raisedLimits } from '../../../lib/containers/oci/runtime/rlimits.js';
import { forProcess } from '../../../lib/containers/oci/runtime/runtime-command.js';
import { runStages, type Step } from '../../../lib/containers/oci/steps.js';
import { ProcessLogParser } from '../../../lib/containers/oci/supervisor/process-log.js';
import { checkProcessSpec, describeProcess } from '../../../lib/containers/oci/supervisor/process-spec.js';
import { engineTag } from '../../../lib/containers/oci/tag.js';
import { resolveAccount } from '../../../lib/containers/oci/users/accounts.js';
import { failureOf } from '../engine-contract.js';

describe('accounts of a container', () => {
  const passwd = 'root:x:0:0:root:/root:/bin/bash\nvcap:x:2000:2000::/home/vcap:/bin/bash\n';
  const group = 'root:x:0:\nvcap:x:2000:\naudio:x:29:vcap,other\nvideo:x:44:vcap\n';

  it('are found by name, number and group', () => {
    const vcap = { uid: 2000, gid: 2000, additionalGids: [29, 44], home: '/home/vcap' };
    expect(resolveAccount('vcap', passwd, group)).to.deep.equal(vcap);
    expect(resolveAccount('2000', passwd, group)).to.deep.equal(vcap);
    expect(resolveAccount('vcap:audio', passwd, group)).to.deep.equal({ ...vcap, gid: 29, additionalGids: [44] });
    expect(resolveAccount('1:2', passwd, group)).to.deep.equal({ uid: 1, gid: 2, additionalGids: [], home: '/' });
  });

  it('include root without a passwd file', () => {
    expect(resolveAccount('root', '', '')).to.include({ uid: 0, gid: 0 });
  });

  it('are unknown by a name, group or number that cannot be', () => {
    for (const user of ['bob', 'vcap:nobody', '', '-1', '4294967295', 'x'.repeat(40)]) {
      expect(() => resolveAccount(user, passwd, group), user).to.throw(UnknownUserError);
    }
  });

  it('do not mind broken lines', () => {
    const broken = `::::\nbad\nevil:x:zero:0::/:\n\n${passwd}`;
    expect(resolveAccount('vcap', broken, ':::\nx').uid).to.equal(2000);
    expect(() => resolveAccount('evil', broken, '')).to.throw(UnknownUserError);
  });
});

describe('names that the kernel has in control groups', () => {
  const names = ['tasks', 'cgroup.procs', 'memory.limit_in_bytes', 'pids.max', 'release_agent'];

  it('are no handles, and no ids of processes with an image of their own', () => {
    for (const name of names) {
      const reason = `${JSON.stringify(name)} is a name of the kernel's control groups`;
      expect(() => checkContainerSpec({ handle: name, rootfs: '/' })).to.throw(InvalidSpecError, `handle: ${reason}`);
      const image = 'oci:///image';
      expect(() => checkProcessSpec({ id: name, path: 'x', image })).to.throw(InvalidSpecError, `id: ${reason}`);
      expect(() => checkProcessSpec({ id: name, path: 'x' })).to.not.throw();
    }
  });

  it('are not those that only look like them', () => {
    for (const handle of ['task', 'memory', 'cpu1.max', 'app.memory.max', 'staging-cgroup.procs']) {
      expect(() => checkContainerSpec({ handle, rootfs: '/' })).to.not.throw();
    }
  });
});

describe('the description of a process', () => {
  const account = { uid: 2000, gid: 2000, additionalGids: [], home: '/home/vcap' };
  const container = (settings: { env?: string[]; isPrivileged?: boolean; available?: string[] } = {}) => ({
    env: settings.env ?? [],
    confinement: {
      isPrivileged: settings.isPrivileged ?? false,
      noNewPrivileges: false,
      capabilities: new Set(settings.available ?? privilegedCapabilities),
    },
  });

  it('orders the environment: container, process, then what is missing', () => {
    const spec = { path: 'x', user: 'vcap', env: ['B=2', 'A=3', 'B=4'] };
    expect(describeProcess(spec, account, '/', container({ env: ['A=1', 'C=1'] })).env).to.deep.equal([
      'C=1',
      'A=3',
      'B=4',
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'USER=vcap',
      'HOME=/home/vcap',
    ]);
  });

  it('keeps PATH, USER and HOME that are given', () => {
    const env = ['PATH=/p', 'USER=u', 'HOME=/h'];
    expect(describeProcess({ path: 'x', env }, account, '/', container()).env).to.deep.equal(env);
  });

  it('gives capabilities in effect to root alone, decided by the user and not by the group', () => {
    const sizes = (uid: number, gid: number, isPrivileged: boolean) => {
      const { capabilities } = describeProcess(
        { path: 'x' },
        { ...account, uid, gid },
        '/',
        container({ isPrivileged }),
      );
      return Object.entries(capabilities).map(([set, names]) => `${set} ${names.length}`);
    };
    const others = (count: number) => [
      `bounding ${count}`,
      'permitted 0',
      'effective 0',
      `inheritable ${count}`,
      'ambient 0',
    ];
    const root = (count: number) =>
      ['bounding', 'permitted', 'effective', 'inheritable'].map((set) => `${set} ${count}`).concat('ambient 0');
    expect(sizes(2000, 0, false)).to.deep.equal(others(14));
    expect(sizes(0, 2000, false)).to.deep.equal(root(14));
    expect(sizes(2000, 0, true)).to.deep.equal(others(15));
    expect(sizes(0, 0, true)).to.deep.equal(root(38));
  });

  it('asks for no capability that the host has taken away from everybody', () => {
    const root = { ...account, uid: 0 };
    const { effective } = describeProcess(
      { path: 'x' },
      root,
      '/',
      container({ available: ['CAP_CHOWN'] }),
    ).capabilities;
    expect(effective).to.deep.equal(['CAP_CHOWN']);
  });
});

describe('resource limits that only the host’s root may set', () => {
  const text = [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max open files            1024                 20000                files     ',
    'Max nice priority         0                    0                    ',
    'Max stack size            8388608              unlimited            bytes     ',
  ].join('\n');

  it('are those above what the engine has itself', () => {
    const hardLimits = parseHardLimits(text);
    const rlimits = { nofile: 20_001, nice: 5, stack: 2 ** 40, core: 1 };
    expect(raisedLimits(rlimits, hardLimits)).to.deep.equal(['--nice=5:5', '--nofile=20001:20001']);
    expect(raisedLimits({ nofile: 20_000, nice: 0 }, hardLimits)).to.deep.equal([]);
  });
});

describe('a runtime that starts processes', () => {
  const command = { program: '/usr/bin/crun', globalArguments: ['--root', '/r oot'] };

  it('is called by a shell that leaves its arguments as they are', () => {
    const { program, globalArguments } = forProcess(command, { toolbox: '/usr/bin/busybox', pipeOwner: 7 });
    expect(program).to.equal('/usr/bin/busybox');
    expect(globalArguments.slice(0, 2)).to.deep.equal(['sh', '-c']);
    expect(globalArguments[2])
      .to.include('chown 7:7')
      .and.to.match(/exec "\$0" "\$@"$/);
    expect(globalArguments.slice(3)).to.deep.equal(['/usr/bin/crun', '--root', '/r oot']);
  });
});

describe('the log of a process', () => {
  const log = Buffer.from(
    '2026-01-01T00:00:00.0+00:00 stdout P he\n2026-01-01T00:00:00.0+00:00 stdout F llo\n' +
      '2026-01-01T00:00:00.0+00:00 stderr F \n2026-01-01T00:00:00.0+00:00 stdout P  a b\n',
  );

  it('gives back what was written, in whatever pieces it is read', () => {
    for (let length = 1; length <= log.length; length += 1) {
      const parser = new ProcessLogParser();
      const output = { stdout: '', stderr: '' };
      for (let start = 0; start < log.length; start += length) {
        for (const chunk of parser.push(log.subarray(start, start + length))) output[chunk.output] += chunk.data;
      }
      expect(output, `pieces of ${length}`).to.deep.equal({ stdout: 'hello\n a b', stderr: '\n' });
    }
  });
});

describe('files about the network of a container', () => {
  it('name the container by the last 49 characters of its handle', () => {
    expect(hostsFileContent(`x${'y'.repeat(49)}`, '10.0.0.2')).to.equal(
      `127.0.0.1 localhost\n10.0.0.2 ${'y'.repeat(49)}\n`,
    );
  });

  it('leave out name servers that only the host reaches, unless there is no other', () => {
    const host = '# comment\nsearch a.example b.example\nnameserver 127.0.0.53\nnameserver 10.1.1.1\noptions ndots:2\n';
    expect(resolvConfContent(host, '10.0.0.1')).to.equal(
      'search a.example b.example\noptions ndots:2\nnameserver 10.1.1.1\n',
    );
    expect(resolvConfContent('nameserver 127.0.0.1\n', '10.0.0.1')).to.equal('nameserver 10.0.0.1\n');
  });
});

describe('the verdict on a container that is found at start-up', () => {
  const state = { phase: 'active', bootId: 'b' } as ContainerState;
  const findings = { bootId: 'b', initIsRunning: true };

  it('adopts what is complete and lives', () => {
    expect(judge(state, findings).action).to.equal('adopt');
    expect(judge({ ...state, phase: 'stopped' }, findings).action).to.equal('adopt');
  });

  it('removes everything else', () => {
    expect(judge(undefined, findings).action).to.equal('remove');
    expect(judge({ ...state, phase: 'creating' }, findings).action).to.equal('remove');
    expect(judge({ ...state, phase: 'destroying' }, findings).action).to.equal('remove');
    expect(judge(state, { ...findings, bootId: 'other' }).action).to.equal('remove');
    expect(judge(state, { ...findings, initIsRunning: false }).action).to.equal('remove');
  });
});

describe('stages of steps', () => {
  const step = (name: string, story: string[], fails = false): Step<object> => ({
    name,
    async run() {
      story.push(`run ${name}`);
      if (fails) throw new Error(`${name} failed`);
    },
    async undo() {
      story.push(`undo ${name}`);
    },
  });

  it('undo what was begun, last stage first, and tell why', async () => {
    const story: string[] = [];
    const stages = [[step('a', story)], [step('b', story), step('c', story, true)], [step('d', story)]];
    const failure = await failureOf(runStages(stages, {}, { onUndoFailure: () => {} }));
    expect((failure as Error).message).to.equal('c failed');
    expect(story).to.deep.equal(['run a', 'run b', 'run c', 'undo b', 'undo c', 'undo a']);
  });

  it('undo the rest when an undo fails', async () => {
    const story: string[] = [];
    const stubborn: Step<object> = {
      ...step('b', story, true),
      undo: async () => {
        throw new Error('stuck');
      },
    };
    const complaints: string[] = [];
    const onUndoFailure = (name: string) => complaints.push(name);
    await failureOf(runStages([[step('a', story)], [stubborn]], {}, { onUndoFailure }));
    expect(complaints).to.deep.equal(['b']);
    expect(story).to.deep.equal(['run a', 'run b', 'undo a']);
  });
});

describe('a grace timer', () => {
  it('does not elapse while it is held, and begins anew afterwards', async () => {
    const started = performance.now();
    const elapsed = await new Promise<number>((resolve) => {
      const timer = new GraceTimer(() => resolve(performance.now() - started));
      timer.setPeriod(30);
      const release = timer.hold();
      setTimeout(release, 60);
    });
    expect(elapsed).to.be.at.least(85);
  });
});

describe('the tag of an engine', () => {
  it('follows from the path of its depot', () => {
    expect(engineTag('/a'))
      .to.match(/^[0-9a-f]{4}$/)
      .and.to.equal(engineTag('/a'));
    expect(engineTag('/a')).not.to.equal(engineTag('/b'));
  });
});
