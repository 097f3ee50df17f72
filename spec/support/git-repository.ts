import { createReadStream } from 'node:fs';
import { cp, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../../lib/process/command.js';

/** A git repository in a temporary directory, and its bare copy to clone from. */
export class GitRepository {
  private constructor(
    private readonly root: string,
    private readonly work: string,
    /** Holds the bare copy; to be served. */
    readonly serverRoot: string,
    /** Name of the bare copy below `serverRoot`. */
    readonly name: string,
  ) {}

  /** A repository with the content of a directory as its first commit, on branch `main`. */
  static async create(source: string, name = 'custom-buildpack.git'): Promise<GitRepository> {
    const root = await mkdtemp(join(tmpdir(), 'git-spec-'));
    const repository = new GitRepository(root, join(root, 'work'), join(root, 'served'), name);
    await cp(source, repository.work, { recursive: true });
    await repository.git('init', '--quiet', '--initial-branch=main');
    await repository.commit();
    return repository;
  }

  /** A file of the work tree. */
  path(name: string): string {
    return join(this.work, name);
  }

  async git(...args: string[]): Promise<string> {
    const identity = ['-c', 'user.name=spec', '-c', 'user.email=spec@localhost', '-c', 'protocol.file.allow=always'];
    return (await runCommand('git', ['-C', this.work, ...identity, ...args])).stdout.trim();
  }

  /** Commits everything; gives the commit's id. */
  async commit(): Promise<string> {
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--allow-empty', '--message', 'a commit');
    return this.git('rev-parse', 'HEAD');
  }

  /** Makes the bare copy with all branches and tags, ready for plain file servers. Gives its `file:` URL. */
  async publish(): Promise<string> {
    const bare = join(this.serverRoot, this.name);
    await rm(bare, { recursive: true, force: true });
    await runCommand('git', ['clone', '--quiet', '--bare', this.work, bare]);
    await runCommand('git', ['-C', bare, 'update-server-info']);
    return `file://${bare}`;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}

export interface FileServer {
  /** Without a slash at its end. */
  url: string;
  stop(): Promise<void>;
}

/** Serves the files below a directory as they are: what git calls a dumb HTTP server. */
export async function startFileServer(root: string): Promise<FileServer> {
  const server = createServer((request, response) => {
    const path = join(root, new URL(request.url ?? '/', 'http://localhost').pathname);
    stat(path).then(
      (status) => {
        if (status.isFile()) createReadStream(path).pipe(response);
        else response.writeHead(404).end();
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
