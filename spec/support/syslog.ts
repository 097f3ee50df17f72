import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { eventually } from './eventually.js';

/** A syslog that records the datagrams it gets. */
export interface Syslog {
  readonly datagrams: string[];
  stop(): Promise<void>;
}

/** Node has no UNIX datagrams. Every datagram comes out as one line. */
const receiver = String.raw`
use strict; use IO::Socket::UNIX; use Socket;
unlink $ARGV[0]; $| = 1;
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "bind: $!";
while (defined $socket->recv(my $datagram, 1 << 20)) { $datagram =~ s/\n/\\n/g; print "$datagram\n" }
`;

/** Binds a socket at `path`. */
export async function startSyslog(path: string): Promise<Syslog> {
  const child = spawn('perl', ['-e', receiver, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const datagrams: string[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    datagrams.push(...lines);
  });
  await eventually(() => existsSync(path) || undefined, { what: 'the socket' });
  return {
    datagrams,
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
