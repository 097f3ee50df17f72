import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeBuilderBundle } from '../../../../lib/lifecycle/bundle/builder-bundle.js';
import { runCommand } from '../../../../lib/process/command.js';
import {
  BuilderWorkspace,
  fixtureApp,
  fixtureBuildpack,
  processesWith,
  writeBuildpack,
} from '../../../support/builder.js';

const compileFailed = { type: 'BuildpackCompileFailed', message: 'Buildpack compilation step failed' };
const notDetected = {
  type: 'NoAppDetectedError',
  message: 'An application could not be detected by any available buildpack',
};

describe('staging for a DEA', () => {
  let bundleRoot: string;
  let workspace: BuilderWorkspace;

  before(async () => {
    bundleRoot = await mkdtemp(join(tmpdir(), 'bundle-spec-'));
    await makeBuilderBundle({ directory: join(bundleRoot, 'builder') });
  });

  after(() => rm(bundleRoot, { recursive: true, force: true }));

  beforeEach(async () => {
    workspace = await BuilderWorkspace.create(join(bundleRoot, 'builder'));
  });

  afterEach(() => workspace.remove());

  const makeBuildpack = (name: string, scripts: Record<string, string>) =>
    writeBuildpack(join(workspace.root, 'packs', name), scripts);

  describe('of an app that can be built', () => {
    it('leaves the droplet layout and tells what it found out', async () => {
      const { status, output, info } = await workspace.run({});
      expect(status, output).to.equal(0);
      expect(output).to.match(/^-----> static: 4 files$/m);
      expect(info).to.deep.equal({
        buildpack_path: fixtureBuildpack('static-buildpack'),
        detected_buildpack: 'Static',
        start_command: 'perl .static/serve.pl',
        effective_procfile: { web: 'perl .static/serve.pl' },
      });
      for (const name of ['app', 'logs', 'tmp']) {
        expect((await stat(join(workspace.root, 'staged', name))).isDirectory()).to.equal(true);
      }
      expect(await readFile(join(workspace.appDirectory, '.profile.d/static.sh'), 'utf8')).to.contain('STATIC_ROOT');
    });

    it('gives the buildpack the cache of the time before', async () => {
      await workspace.run({});
      await workspace.run({});
      expect(await readFile(join(workspace.appDirectory, '.static/stagings'), 'utf8')).to.equal('2\n');
    });

    it('asks the buildpacks in their order and takes the first that detects it', async () => {
      const buildpacks = ['detect-fails', 'procfile-buildpack', 'static-buildpack'].map(fixtureBuildpack);
      const { info } = await workspace.run({ app: fixtureApp('procfile'), buildpacks });
      expect(info).to.deep.include({ detected_buildpack: 'Procfile', start_command: 'perl server.pl' });
    });

    it('passes over what is no buildpack or cannot be run, and says so', async () => {
      const mute = await makeBuildpack('mute', {});
      await chmod(join(mute, 'bin/detect'), 0o644);
      const { status, output, info } = await workspace.run({
        buildpacks: [
          fixtureBuildpack('no-bin'),
          join(workspace.root, 'away'),
          mute,
          fixtureBuildpack('static-buildpack'),
        ],
      });
      expect(status).to.equal(0);
      expect(info).to.have.property('detected_buildpack', 'Static');
      expect(output).to.contain('malformed buildpack does not contain a /bin dir: no-bin');
      expect(output).to.contain('bin/detect of buildpack mute is not executable');
    });

    it('accepts a buildpack nested one directory deep and names the outer one', async () => {
      const { info } = await workspace.run({ buildpacks: [fixtureBuildpack('nested')] });
      expect(info).to.deep.include({ buildpack_path: fixtureBuildpack('nested'), detected_buildpack: 'Nested' });
    });

    it('takes the buildpack with the chosen key without asking any', async () => {
      const { info } = await workspace.run({
        buildpacks: [fixtureBuildpack('static-buildpack'), fixtureBuildpack('no-start-command')],
        properties: { buildpack_key: 'no-start-command' },
      });
      expect(info).to.deep.equal({
        buildpack_path: fixtureBuildpack('no-start-command'),
        detected_buildpack: null,
        start_command: null,
        effective_procfile: {},
      });
    });

    it("starts it with the user's own command, and keeps the Procfile as it is", async () => {
      const { info } = await workspace.run({
        app: fixtureApp('procfile'),
        buildpacks: [fixtureBuildpack('procfile-buildpack')],
        properties: { meta: { command: 'my own' } },
      });
      expect(info).to.deep.include({
        start_command: 'my own',
        effective_procfile: { web: 'perl server.pl', worker: 'sleep 100000' },
      });
    });

    it('reads a Procfile that the buildpack wrote', async () => {
      const pack = await makeBuildpack('writes-procfile', { compile: 'echo "web: written" > "$1/Procfile"' });
      const { info } = await workspace.run({ buildpacks: [pack] });
      expect(info).to.have.property('start_command', 'written');
    });

    it('trims what detection says, and takes it from standard output only', async () => {
      const pack = await makeBuildpack('noisy', { detect: 'echo noise >&2; echo "  Noisy  "; echo' });
      const { info, output } = await workspace.run({ buildpacks: [pack] });
      expect(info).to.have.property('detected_buildpack', 'Noisy');
      expect(output).to.contain('noise');
    });

    it('copies links and hidden files, and gives the owner everything', async () => {
      const app = join(workspace.root, 'odd app');
      await mkdir(join(app, 'deep/er'), { recursive: true });
      await writeFile(join(app, 'deep/er/script.sh'), '', { mode: 0o600 });
      await writeFile(join(app, '.hidden'), '', { mode: 0o444 });
      await writeFile(join(app, 'index.html'), '');
      await symlink('deep/er', join(app, 'link'));
      await symlink('/nowhere/at/all', join(app, 'dangling'));
      const { status, output } = await workspace.run({ app });
      expect(status, output).to.equal(0);
      const mode = async (name: string) => (await stat(join(workspace.appDirectory, name))).mode & 0o7777;
      expect(await mode('deep/er')).to.equal(0o744);
      expect(await mode('link/script.sh')).to.equal(0o744);
      expect(await mode('.hidden')).to.equal(0o744);
    });

    it('runs its scripts in the staged directory with the environment as it was given', async () => {
      const pack = await makeBuildpack('curious', { compile: 'pwd; env' });
      const environment = {
        NODE_OPTIONS: '--bad',
        NODE_EXTRA_CA_CERTS: '/nowhere.pem',
        NODE_PATH: '',
        LD_LIBRARY_PATH: `${bundleRoot}/nowhere`,
        OPENSSL_CONF: '/nowhere.cnf',
        FOO: 'a\nb',
      };
      const { status, output } = await workspace.run({ buildpacks: [pack], environment });
      expect(status, output).to.equal(0);
      expect(output.split('\n')[0]).to.equal(join(workspace.root, 'staged'));
      for (const [name, value] of Object.entries(environment)) expect(output).to.contain(`${name}=${value}\n`);
      expect(output).to.not.match(/^LD_PRELOAD=/m);
      expect(output).to.not.contain('WITHHELD');
    });

    it('does not wait for what a script leaves running, and ends it', async () => {
      const entry = `SPEC_RUN=${randomUUID()}`;
      const pack = await makeBuildpack('leaves', { compile: 'sleep 1000 & echo started' });
      const [name, value] = entry.split('=');
      const { status } = await workspace.run({ buildpacks: [pack], environment: { [name!]: value! } });
      expect(status).to.equal(0);
      expect(await processesWith(entry)).to.deep.equal([]);
    });
  });

  describe('of an app that cannot be built', () => {
    const failures = [
      { title: 'nothing detects it', buildpacks: ['detect-fails', 'no-bin'], error: notDetected },
      { title: 'there is no buildpack', buildpacks: [], error: notDetected },
      { title: 'compiling fails', buildpacks: ['compile-fails'], error: compileFailed },
      { title: 'the compile script is not executable', buildpacks: ['not-executable'], error: compileFailed },
      {
        title: 'the chosen key is not among the buildpacks',
        buildpacks: ['static-buildpack'],
        key: 'other',
        error: compileFailed,
      },
      {
        title: 'the chosen one is no buildpack',
        buildpacks: ['no-bin'],
        key: 'no-bin',
        error: compileFailed,
      },
      {
        title: 'releasing fails',
        buildpacks: ['release-fails'],
        error: { type: 'BuildpackReleaseFailed', message: 'Release info failed:\nno release today\n' },
      },
      {
        title: 'the release is no YAML',
        buildpacks: ['release-invalid'],
        error: { type: 'BuildpackReleaseFailed', message: 'Release info failed:\n]:[\n' },
      },
    ];

    for (const { title, buildpacks, key, error } of failures) {
      it(`tells the kind of failure when ${title}`, async () => {
        const { status, output, info } = await workspace.run({
          buildpacks: buildpacks.map(fixtureBuildpack),
          properties: { buildpack_key: key ?? null },
        });
        expect(status).to.equal(1);
        expect(info).to.deep.equal({ staging_error: error });
        expect(output).to.contain(`Staging failed: ${error.message}`);
      });
    }

    it('shows what the buildpack said before it failed', async () => {
      const { output } = await workspace.run({ buildpacks: [fixtureBuildpack('compile-fails')] });
      expect(output).to.match(/^-----> about to fail\ncompile: something is wrong\nStaging failed: /);
    });

    it('takes a release without end for a failed one, and keeps its message short', async () => {
      const pack = await makeBuildpack('endless-release', { release: 'yes "web: x" | head -c 5000000' });
      const { info } = await workspace.run({ buildpacks: [pack] });
      const error = info!.staging_error as { type: string; message: string };
      expect(error.type).to.equal('BuildpackReleaseFailed');
      expect(error.message.length).to.be.lessThan(11_000);
    });

    it('refuses a Procfile that is no mapping, without a kind of failure', async () => {
      const { status, output, info } = await workspace.run({
        app: fixtureApp('invalid-procfile'),
        buildpacks: [fixtureBuildpack('procfile-buildpack')],
      });
      expect(status).to.equal(1);
      expect(info).to.equal(undefined);
      expect(output).to.contain('Invalid Procfile format. Please ensure it is a valid YAML hash');
    });

    it('still tells the kind of failure when the buildpack has filled the disk', async () => {
      const staged = join(workspace.root, 'small');
      const config = join(workspace.root, 'plugin_config');
      await mkdir(staged);
      await writeFile(
        config,
        JSON.stringify({
          source_dir: fixtureApp('static'),
          dest_dir: staged,
          cache_dir: workspace.cacheDirectory,
          environment: {},
          buildpack_dirs: [fixtureBuildpack('filling-compile')],
        }),
      );
      const script = `mount -t tmpfs -o size=2m none ${staged}
        ${bundleRoot}/builder/run ${config}
        cp ${staged}/staging_info.yml ${workspace.root}/`;
      await runCommand('unshare', ['--mount', 'sh', '-c', script]);
      expect(await readFile(join(workspace.root, 'staging_info.yml'), 'utf8')).to.contain('BuildpackCompileFailed');
    });
  });

  describe('that takes too long', () => {
    it('ends with all processes of the buildpack after STAGING_TIMEOUT', async () => {
      const id = randomUUID();
      const begin = Date.now();
      const { status, output, info } = await workspace.run({
        buildpacks: [fixtureBuildpack('endless-compile')],
        environment: { STAGING_TIMEOUT: '0.5', SPEC_RUN: id },
      });
      expect(status).to.equal(1);
      expect(Date.now() - begin).to.be.lessThan(5000);
      expect(output).to.contain('The buildpack took longer than 0.5 seconds and was stopped');
      expect(info).to.equal(undefined);
      expect(await processesWith(`SPEC_RUN=${id}`)).to.deep.equal([]);
    });

    it('counts detection and release, too', async () => {
      for (const script of ['detect', 'release']) {
        const pack = await makeBuildpack(`endless-${script}`, { [script]: 'sleep 1000' });
        const { output } = await workspace.run({ buildpacks: [pack], environment: { STAGING_TIMEOUT: '0.5' } });
        expect(output, script).to.contain('took longer than 0.5 seconds');
      }
    });

    it('hands a TERM on to the buildpack', async () => {
      const id = randomUUID();
      let builder = 0;
      const { status, output } = await workspace.run({
        buildpacks: [fixtureBuildpack('endless-compile')],
        environment: { SPEC_RUN: id },
        onStart: (pid) => {
          builder = pid;
        },
        onOutput: (text) => {
          if (!text.endsWith('compiling without end\n')) return;
          // Those who stop it may do so more than once.
          for (let count = 0; count < 3; count += 1) process.kill(builder, 'SIGTERM');
        },
      });
      expect(status).to.equal(143);
      expect(output).to.contain('Staging was stopped by SIGTERM');
      expect(await processesWith(`SPEC_RUN=${id}`)).to.deep.equal([]);
    });
  });

  describe('that is asked for wrongly', () => {
    it('shows the usage unless it gets exactly one argument', async () => {
      for (const args of [[], ['a', 'b'], ['--help']]) {
        const { status, output } = await workspace.start(args);
        expect(status).to.equal(1);
        expect(output).to.equal('Usage: run <plugin config path>\n');
      }
    });

    it('names the missing key of its configuration', async () => {
      const config = join(workspace.root, 'plugin_config');
      await writeFile(config, 'source_dir: /tmp\ndest_dir: /tmp\n');
      const { status, output } = await workspace.start([config]);
      expect(status).to.equal(1);
      expect(output).to.contain('environment: missing key');
    });

    it('names a directory that is not there', async () => {
      const config = join(workspace.root, 'plugin_config');
      await writeFile(config, `source_dir: ${workspace.root}/away\ndest_dir: ${workspace.root}\nenvironment: {}\n`);
      const { status, output } = await workspace.start([config]);
      expect(status).to.equal(1);
      expect(output).to.contain(`source_dir: ${workspace.root}/away is not a directory`);
    });
  });

  it('can be done with every fixture app', async () => {
    const buildpacks = ['static-buildpack', 'procfile-buildpack'].map(fixtureBuildpack);
    for (const name of ['static', 'procfile', 'crashing', 'slow-start', 'silent']) {
      const copy = join(workspace.root, name);
      await cp(fixtureApp(name), copy, { recursive: true });
      const { status, info } = await workspace.run({ app: copy, buildpacks });
      expect(status, name).to.equal(0);
      expect(info!.start_command, name).to.be.a('string');
    }
  });
});
