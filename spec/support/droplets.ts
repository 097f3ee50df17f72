import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { dump as toYaml } from 'js-yaml';

const run = promisify(execFile);

/**
 * A small HTTP server in Perl with everything that specs ask of an app: `/env` (JSON), `/hello`, `/exit?code=3`,
 * `/alloc?mb=200`, `/fill?mb=200`, `/fork` (a fork bomb). Prints what `/log?line=x` says. Ignores TERM when
 * `IGNORE_TERM` is set.
 */
const serverSource = String.raw`
use strict; use warnings; use IO::Socket::INET;
$| = 1;
$SIG{TERM} = sub { print "got TERM\n"; exit 0 unless $ENV{IGNORE_TERM} };
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $ENV{PORT}, Listen => 64, ReuseAddr => 1) or die "listen: $!";
sub quote { my $t = shift; $t =~ s/([\\"])/\\$1/g; $t =~ s/\n/\\n/g; $t =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge; "\"$t\"" }
while (1) {
  my $client = $server->accept or next;
  my $line = <$client> // '';
  while (my $header = <$client>) { last if $header =~ /^\r?\n$/ }
  my ($path, $query) = $line =~ m{^\S+ ([^? ]*)\??(\S*)};
  my ($value) = ($query // '') =~ /=(.*)/;
  my $body = 'hello from ' . ($ENV{CF_INSTANCE_INDEX} // '?');
  if ($path eq '/env') { $body = '{' . join(',', map { quote($_) . ':' . quote($ENV{$_}) } sort keys %ENV) . '}' }
  elsif ($path eq '/log') { print "$value\n"; $body = 'logged' }
  elsif ($path eq '/fill') {
    open my $file, '>', "$ENV{HOME}/filler"; my $written = 0;
    for (1 .. $value) { last unless defined syswrite($file, 'x' x 1048576) and ++$written }
    $body = "wrote $written";
  }
  elsif ($path eq '/fork') { my $made = 0; for (1 .. 20000) { my $pid = fork; last unless defined $pid; if (!$pid) { sleep 3600; exit } $made++ } $body = "forked $made" }
  print $client "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body";
  close $client;
  exit $value if $path eq '/exit';
  if ($path eq '/alloc') { my $memory = ''; for (1 .. $value) { $memory .= 'y' x 1048576 } sleep 3600 }
}
`;

export interface DropletOptions {
  /** Command of `staging_info.yml`; null leaves the command out. @default the test server */
  startCommand?: string | null;
  /** More files, by path in the droplet. */
  files?: Record<string, string>;
}

/** A droplet (tar.gz) as staging leaves it: `app/ logs/ tmp/ staging_info.yml`. */
export async function makeDroplet(options: DropletOptions = {}): Promise<Buffer> {
  const { startCommand = 'exec perl server.pl', files = {} } = options;
  const directory = await mkdtemp(join(tmpdir(), 'droplet-'));
  try {
    const content: Record<string, string> = {
      'app/server.pl': serverSource,
      'logs/staging_task.log': 'staged\n',
      'tmp/.keep': '',
      'staging_info.yml': toYaml({ detected_buildpack: 'Perl', ...(startCommand && { start_command: startCommand }) }),
      ...files,
    };
    for (const [path, text] of Object.entries(content)) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), text, { mode: path.endsWith('.sh') ? 0o755 : 0o644 });
    }
    const archive = `${directory}.tgz`;
    await run('tar', ['-czf', archive, '--owner=2000', '--group=2000', '-C', directory, '.']);
    const bytes = await readFile(archive);
    await rm(archive);
    return bytes;
  } finally {
    await rm(directory, { recursive: true });
  }
}
