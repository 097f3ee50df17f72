import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { longestBuildLogBytes } from '../../../lib/dea/staging/staging-script.js';
import type { BlobHandler } from '../../support/blob-server.js';
import { eventually } from '../../support/eventually.js';
import type { Message } from '../../support/peer.js';
import { StagingBench } from '../../support/staging-bench.js';

const mebibyte = 1024 * 1024;

/** Packages, buildpacks and blobstores that no honest user has. After each of them the cell stages as before. */
describe('a cell that stages what it should not', function () {
  this.timeout(120_000);
  let bench: StagingBench;

  before(async () => {
    bench = await StagingBench.start();
  });

  after(() => bench?.stop());

  afterEach(async () => {
    await bench.expectReleased(30_000);
    expect(bench.cell.logs.filter(({ log_level }) => log_level === 'fatal')).to.deep.equal([]);
  });

  async function zipOf(add: (zip: ZipFile) => void): Promise<Buffer> {
    const zip = new ZipFile();
    add(zip);
    zip.end();
    return buffer(zip.outputStream);
  }

  describe('from a package', () => {
    it('ends a zip bomb at the disk limit', async () => {
      // Three files of 200 MB in less than a hundredth of that; the limit is 512 MB.
      const zeros = Buffer.alloc(200_000_000);
      const zip = await zipOf((bomb) => {
        for (const name of ['a', 'b', 'c']) bomb.addBuffer(zeros, name, { compressionLevel: 1 });
      });
      expect(zip.length).to.be.lessThan(6 * mebibyte);
      const [first, second] = await bench.outcome({ download_uri: bench.blobs.put('/bomb.zip', zip) });
      expect(first.error).to.equal(null);
      expect(second.error).to.equal('Script exited with status 50');
    });

    it('writes nothing outside of the app for names that climb', async () => {
      // yazl refuses such names: they are put into the finished archive.
      const zip = await zipOf((archive) => archive.addBuffer(Buffer.from('evil'), 'xx/xx/xx/tmp/evil'));
      const climbing = Buffer.from(zip.toString('latin1').replaceAll('xx/xx/xx/tmp', '../../../tmp'), 'latin1');
      const message = await bench.message({ download_uri: bench.blobs.put('/climbing.zip', climbing) });
      const [, second] = await bench.replies(bench.stage(message), 2);
      // unzip leaves the dots out.
      expect(second).not.to.have.property('error');
      expect(StagingBench.filesIn(bench.uploadsTo(message.upload_uri)[0]!)).to.include('./app/tmp/evil');
      expect(existsSync('/tmp/evil')).to.equal(false);
    });

    it('follows its links in the container only', async () => {
      const zip = await zipOf((archive) => {
        archive.addBuffer(Buffer.from('/etc'), 'etc', { mode: 0o120777 });
        archive.addBuffer(Buffer.from(join(bench.cell.baseDirectory, 'dea.yml')), 'config', { mode: 0o120777 });
        archive.addBuffer(Buffer.from('x'), 'index.html');
      });
      const message = await bench.message({ download_uri: bench.blobs.put('/links.zip', zip) });
      const [, second] = await bench.replies(bench.stage(message), 2);
      expect(second).not.to.have.property('error');
      const [droplet] = bench.uploadsTo(message.upload_uri);
      expect(StagingBench.filesIn(droplet!)).to.include.members(['./app/etc', './app/config']);
      expect(StagingBench.fileIn(droplet!, './app/config')).to.equal('');
    });

    it('takes no package that is larger than the disk of its container', async () => {
      const download_uri = bench.blobs.handle('/endless.zip', (_request, response) => {
        const chunk = Buffer.alloc(mebibyte);
        const write = () => {
          while (!response.destroyed && response.write(chunk));
        };
        response.on('drain', write);
        write();
      });
      const [first, second] = await bench.outcome({ download_uri });
      expect(first.error).to.equal(`Error downloading: more than ${512 * mebibyte} bytes`);
      expect(second.error).to.equal(first.error);
    });
  });

  describe('with a buildpack', () => {
    const outcomeOf = async (name: string, scripts: Record<string, string>, more: Message = {}) => {
      const message = await bench.message({ admin_buildpacks: [await bench.admin(name, scripts)], ...more });
      const [, second] = await bench.replies(bench.stage(message), 2);
      return { second: second!, uploads: bench.uploadsTo(message.upload_uri) };
    };

    it('keeps the beginning of what one prints without measure', async () => {
      const { second, uploads } = await outcomeOf('loud', { compile: 'yes | head -c 1000000000' });
      expect(second).not.to.have.property('error');
      const log = StagingBench.fileIn(uploads[0]!, './logs/staging_task.log');
      expect(log.length).to.be.within(longestBuildLogBytes, longestBuildLogBytes + 1000);
      expect(log).to.contain('-----> The log is cut off here');
    });

    it('fails one whose droplet fills the disk while it is packed', async () => {
      const { second } = await outcomeOf('heavy', { compile: 'head -c 270000000 /dev/urandom > "$1/bulk"' });
      expect(second.error).to.equal('Script exited with status 2');
    });

    it('ends what one leaves running, and does not wait for it', async () => {
      const left = 'setsid sh -c \'trap "" TERM; while :; do date >> "$0/growing"; done\' "$1" & sleep 0.2';
      const { second, uploads } = await outcomeOf('daemon', { compile: left });
      expect(second).not.to.have.property('error');
      expect(second.droplet_sha1).to.equal(createHash('sha1').update(uploads[0]!.content).digest('hex'));
    });

    it('does not wait for a pipe in place of the staging info, nor read a file without end', async () => {
      for (const [name, swap] of [
        ['pipe', 'mkfifo /tmp/x'],
        ['large', 'head -c 100000000 /dev/zero > /tmp/x'],
        ['link', 'ln -s /dev/zero /tmp/x'],
        ['directory', 'mkdir /tmp/x'],
      ] as const) {
        // From behind the builder, which writes the file at its end.
        const compile = `${swap}; setsid sh -c 'while :; do [ -f /tmp/staged/staging_info.yml ] && mv -T /tmp/x /tmp/staged/staging_info.yml; done' > /dev/null 2>&1 &`;
        const { second } = await outcomeOf(`swap-${name}`, { compile });
        expect(second, name).to.have.property('droplet_sha1');
      }
    });

    it('tells of one that is killed with the container under it', async () => {
      const message = await bench.message({ admin_buildpacks: [await bench.admin('long_compiling_buildpack')] });
      const received = bench.stage(message);
      await bench.replies(received, 1);
      await eventually(
        async () => (await bench.logSoFar(received[0]!.task_streaming_log_url)).includes('\ncompiling') || undefined,
      );
      const [task] = (await bench.cell.snapshot()).staging_tasks as { warden_container_path: string }[];
      const pid = Number(await readFile(join(task!.warden_container_path, 'init.pid'), 'utf8').catch(() => '0'));
      expect(pid).to.be.greaterThan(1);
      process.kill(pid, 'SIGKILL');
      const [, second] = await bench.replies(received, 2);
      expect(second).to.include({ error: 'Script exited with status 255', droplet_sha1: null });
    });
  });

  describe('at a blobstore', () => {
    /** A server below HTTP, which says what it likes. */
    async function withRawServer<Result>(
      answer: (socket: Socket, received: string) => void,
      work: (url: string) => Promise<Result>,
    ): Promise<Result> {
      const sockets = new Set<Socket>();
      const server: Server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.once('data', (data) => answer(socket, data.toString('latin1')));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        return await work(`http://u:secret@127.0.0.1:${(server.address() as AddressInfo).port}`);
      } finally {
        for (const socket of sockets) socket.destroy();
        server.close();
      }
    }

    const downloads: [title: string, answer: (socket: Socket) => void, error: RegExp][] = [
      ['resets', (socket) => void socket.resetAndDestroy(), /Response status: unknown, Error: ECONNRESET/],
      ['answers nonsense', (socket) => void socket.end('}{\r\n\r\n'), /Response status: unknown, Error: /],
      [
        'answers half',
        (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf'),
        /Response status: unknown, Error: ECONNRESET/,
      ],
      [
        'tells a length that is none',
        (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx'),
        /Response status: unknown, Error: /,
      ],
    ];
    for (const [title, answer, error] of downloads) {
      it(`says so when it ${title}`, async () => {
        const [first, second] = await withRawServer(answer, (url) => bench.outcome({ download_uri: `${url}/package` }));
        expect(first.error)
          .to.match(error)
          .and.to.match(/^Error downloading: /);
        expect(second.error).to.equal(first.error);
        expect(first.error).not.to.contain('secret');
      });
    }

    it('takes what was announced of an answer that is longer', async () => {
      const answer = (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nmore than three');
      const [first, second] = await withRawServer(answer, (url) => bench.outcome({ download_uri: `${url}/package` }));
      expect(first.error).to.equal(null);
      expect(second.error).to.equal('Script exited with status 9');
    });

    it('gives up redirects without end, and takes no credentials along', async () => {
      const download_uri = bench.blobs.handle('/loop', (_request, response) => {
        response.writeHead(302, { Location: '/loop' }).end();
      });
      const [first] = await bench.outcome({ download_uri });
      expect(first.error).to.equal('Error downloading: HTTP status: 302');
      expect(bench.blobs.requests.filter((request) => request === 'GET /loop')).to.have.lengthOf(6);
    });

    it('fetches from URLs with odd characters', async () => {
      const content = await zipOf((zip) => zip.addBuffer(Buffer.from('x'), 'index.html'));
      const path = '/odd%20name/%C3%BC/a%2Fb;c=[d]|e~(f)\'g"';
      bench.blobs.put(new URL(path, 'http://h').pathname, content);
      const [, second] = await bench.outcome({
        download_uri: `${bench.blobs.urlWithCredentials}${path}?q=a b&é=ü#frag`,
      });
      expect(second).not.to.have.property('error');
    });

    const refusals: [title: string, handler: BlobHandler, error: RegExp][] = [
      [
        'refuses the upload before it has it all',
        (_request, response) => void response.writeHead(413, { Connection: 'close' }).end('too much'),
        /^Error uploading: \(Upload failed - status 413\)$/,
      ],
      [
        'cuts the upload',
        (request) => void request.once('data', () => request.socket.destroy()),
        /^Error uploading: \(Upload failed - status 0; error: (ECONNRESET|EPIPE) \(/,
      ],
      [
        'redirects the upload',
        (request, response) => void request.resume().on('end', () => response.writeHead(302, { Location: '/' }).end()),
        /^Error uploading: \(Upload failed - status 302\)$/,
      ],
      [
        'answers with a job at no URL',
        (request, response) => void request.resume().on('end', () => response.end('{"metadata":{"url":"nowhere"}}')),
        /^Error uploading: \(invalid URL "nowhere" is no http or https URL\)$/,
      ],
      [
        'answers with what is no job',
        (request, response) => void request.resume().on('end', () => response.end('url url')),
        /^Error uploading: \(invalid json\)$/,
      ],
      [
        'answers without end',
        (request, response) =>
          void request.resume().on('end', () => {
            const chunk = Buffer.alloc(mebibyte, 'url ');
            const write = () => {
              while (!response.destroyed && response.write(chunk));
            };
            response.on('drain', write);
            write();
          }),
        /^Error uploading: \(Upload failed - status 0; error: /,
      ],
    ];
    for (const [title, handler, error] of refusals) {
      it(`says so when it ${title}`, async () => {
        const bulky = { compile: 'head -c 20000000 /dev/urandom > "$1/bulk"' };
        const [, second] = await bench.outcome({
          upload_uri: bench.blobs.handle('/refusing', handler),
          admin_buildpacks: [await bench.admin('some-megabytes', bulky)],
        });
        expect(second.error).to.match(error);
        expect(second.droplet_sha1).to.match(/^[0-9a-f]{40}$/);
      });
    }

    it('follows a job on another host, with the credentials of that URL alone', async () => {
      let received = '';
      const [, second] = await withRawServer(
        (socket, request) => {
          received = request;
          const body = '{"entity":{"status":"finished"}}';
          socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        },
        (url) => {
          const job = `${url.replace('u:secret@', '')}/jobs/1`;
          const upload_uri = bench.blobs.handle('/job-elsewhere', (request, response) => {
            request.resume().on('end', () => response.end(JSON.stringify({ metadata: { url: job } })));
          });
          return bench.outcome({ upload_uri });
        },
      );
      expect(second).not.to.have.property('error');
      expect(received)
        .to.match(/^GET \/jobs\/1 HTTP/)
        .and.not.to.match(/authorization/i);
    });
  });

  it('answers each faulty field of a message by its name, once', async () => {
    const good = await bench.message();
    const faults: Message = {
      app_id: {},
      task_id: [],
      stack: 1,
      properties: 'x',
      download_uri: null,
      upload_uri: '',
      buildpack_cache_download_uri: 7,
      buildpack_cache_upload_uri: {},
      start_message: 'x',
      admin_buildpacks: {},
      egress_network_rules: 'x',
      memory_limit: -1,
      disk_limit: '1',
      'properties.services': [{}],
      'properties.environment': [1],
      'properties.buildpack': 1,
      'properties.buildpack_key': {},
      'properties.meta': { command: 5 },
    };
    for (const [path, value] of Object.entries(faults)) {
      const message = structuredClone(good);
      const [field, part] = path.split('.') as [string, string | undefined];
      if (part === undefined) message[field] = value;
      else message[field][part] = value;
      const received = bench.stage(message);
      await bench.replies(received, 1);
      expect(received[0]!.error, path)
        .to.match(/^Error staging: invalid staging message: /)
        .and.to.contain(path);
      expect(received, path).to.have.lengthOf(1);
    }
  });

  it('answers what is no staging message at all', async () => {
    for (const data of ['text', 7, null, [], {}] as unknown as Message[]) {
      const received = bench.stage(data);
      await bench.replies(received, 1);
      expect(received[0]).to.include({ task_id: null });
      expect(received[0]!.error).to.match(/^Error staging: invalid staging message: /);
    }
  });

  it('stages under an id that is no name for anything', async () => {
    for (const task_id of ['../../x y', 'ü'.repeat(300), '-']) {
      const message = await bench.message({ task_id });
      const [, second] = await bench.replies(bench.stage(message), 2);
      expect(second).to.include({ task_id }).and.not.to.have.property('error');
    }
  });
});
