import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expect } from 'chai';
import { bundlePrograms } from '../../lib/build/bundle.js';
import { findPrograms } from '../../lib/build/programs.js';

interface Run {
  status: number;
  stdout: string;
  stderr: string;
}

/** What every test begins with; the last line fails in a known place. */
const main = `import { findCaller } from '../logging/caller.js';
import { echo } from './deep/thread.js';

const [order = '--help'] = process.argv.slice(2);
const orders: Record<string, () => unknown> = {
  '--help': () => console.log('help'),
  // Ünïcode in comments, too: ’
  text: () => console.log('– é 😀', '–é😀'.replace(/[–😀]|é/gu, 'x'), \`\${order} ’\`),
  place: () => console.log(import.meta.url),
  caller: () => console.log(JSON.stringify(findCaller())),
  echo: async () => console.log(await echo('hello')),
  lazy: async () => console.log((await import('./lazy.js')).answer),
  fail() {
    throw new Error('as ordered');
  },
};
void orders[order]!();
`;
const lineOf = (text: string) => main.split('\n').findIndex((line) => line.includes(text)) + 1;

describe('the build of programs', function () {
  this.timeout(30_000);
  let project: string;

  async function source(path: string, text: string): Promise<void> {
    const file = join(project, 'lib', path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }

  const build = () => bundlePrograms({ projectDirectory: project, programs: ['tool/main'] });

  const run = (...args: string[]) =>
    new Promise<Run>((done) => {
      execFile(process.execPath, [join(project, 'dist/tool/main.js'), ...args], (error, stdout, stderr) =>
        done({ status: Number(error?.code ?? 0), stdout, stderr }),
      );
    });

  const filesOf = async (directory: string) => (await readdir(join(project, 'dist', directory))).sort();

  before(async () => {
    project = await mkdtemp(join(tmpdir(), 'build-'));
    await mkdir(join(project, 'dist'));
    await writeFile(join(project, 'dist/package.json'), '{ "type": "commonjs" }');
    await writeFile(join(project, 'package.json'), '{ "type": "module" }');
    await symlink(resolve('node_modules'), join(project, 'node_modules'));
    await cp('lib/logging', join(project, 'lib/logging'), { recursive: true });
    await source('tool/main.ts', main);
    await source('tool/lazy.ts', `console.log('loaded');\nexport const answer = 'found';\n`);
    await source(
      'tool/deep/thread.ts',
      `import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

export async function echo(text: string): Promise<string> {
  const worker = new Worker(new URL('./echo-worker.js', import.meta.url), { workerData: text });
  return (await once(worker, 'message'))[0];
}
`,
    );
    await source(
      'tool/deep/echo-worker.ts',
      `import { parentPort, workerData } from 'node:worker_threads';
parentPort!.postMessage(\`\${workerData} from a thread\`);
`,
    );
  });

  beforeEach(build);

  after(() => rm(project, { recursive: true, force: true }));

  it('puts a program into one file with its compiled code, beside the program that runs it', async () => {
    const files = await filesOf('tool');

    expect(files.filter((name) => name !== 'deep').map((name) => name.replace(/[0-9a-f]{16}/, 'HASH'))).to.deep.equal([
      'main-HASH.cjs',
      'main-HASH.cjs.compiled',
      'main-HASH.cjs.lines',
      'main-HASH.cjs.map',
      'main.js',
    ]);
    expect(await run()).to.deep.equal({ status: 0, stdout: 'help\n', stderr: '' });
  });

  it('keeps characters of all kinds', async () => {
    expect((await run('text')).stdout).to.equal('– é 😀 xxx text ’\n');
  });

  it('lets a source find itself where it would be by itself', async () => {
    expect((await run('place')).stdout).to.equal(`file://${join(project, 'dist/tool/main.js')}\n`);
  });

  it('also builds the worker threads that a program starts, to where it looks for them', async () => {
    expect((await run('echo')).stdout).to.equal('hello from a thread\n');
    expect(await filesOf('tool/deep')).to.include('echo-worker.js');
  });

  it('runs what is imported lazily only when it is asked for', async () => {
    expect((await run('place')).stdout).not.to.include('loaded');
    expect((await run('lazy')).stdout).to.equal('loaded\nfound\n');
  });

  it('lets logs and stacks name lines of sources', async () => {
    const { file, line } = JSON.parse((await run('caller')).stdout);
    const { status, stderr } = await run('fail');

    expect({ file, line }).to.deep.equal({ file: join(project, 'lib/tool/main.ts'), line: lineOf('findCaller())') });
    expect(status).to.equal(1);
    expect(stderr)
      .to.include(`Error: as ordered\n    at `)
      .and.include(`${file}:${lineOf('as ordered')}`);
  });

  it('runs without compiled code, and with another one’s', async () => {
    const [compiled] = (await filesOf('tool')).filter((name) => name.endsWith('.compiled'));
    const file = join(project, 'dist/tool', compiled!);
    const content = await readFile(file);

    await writeFile(file, Buffer.concat([Buffer.alloc(64), content.subarray(64)]));
    expect(await run()).to.deep.equal({ status: 0, stdout: 'help\n', stderr: '' });
    await rm(file);
    expect(await run()).to.deep.equal({ status: 0, stdout: 'help\n', stderr: '' });
  });

  it('runs the new code after a change that leaves the length as it was, and keeps nothing of the old', async () => {
    const before = await filesOf('tool');
    await source('tool/main.ts', main.replace("log('help')", "log('HELP')"));
    await build();
    const after = await filesOf('tool');
    await source('tool/main.ts', main);

    expect((await run()).stdout).to.equal('HELP\n');
    expect(after).to.have.lengthOf(before.length);
    expect(after.filter((name) => before.includes(name))).to.deep.equal(['deep', 'main.js']);
  });

  it('fails with the place of what is wrong in a source', async () => {
    await source('tool/lazy.ts', 'export const answer = ;\n');
    const failure = await build().catch((error: Error) => error.message);
    await source('tool/lazy.ts', `console.log('loaded');\nexport const answer = 'found';\n`);

    expect(failure).to.match(/lib\/tool\/lazy\.ts:1:22: ERROR: Unexpected ";"/);
  });

  it('fails with what a program says that cannot even explain itself', async () => {
    await source('tool/main.ts', `throw new Error('no help');\n`);
    const failure = await build().catch((error: Error) => error.message);
    await source('tool/main.ts', main);

    expect(failure).to.match(/dist\/tool\/main\.js --help ended with 1: .*Error: no help/s);
  });

  it('knows the programs of this project from its commands', async () => {
    expect(await findPrograms('.')).to.include.members([
      'cli/main',
      'dea/main',
      'dea/dir-server/main',
      'standalone/main',
    ]);
  });
});
