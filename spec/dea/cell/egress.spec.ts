import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { type NetworkBench, startNetworkBench } from '../../support/network-bench.js';
import type { Message } from '../../support/peer.js';
import { StagingBench } from '../../support/staging-bench.js';
import { startMessage } from '../../support/start-message.js';

/** Ports of the world outside: one per rule that is to open it. */
const [webPort, otherPort, rangePort] = [7000, 7001, 7105];

/** docs/protocol/dea.md §23.4, and the deny-by-default of Warden's own configuration (docs/protocol/containers.md §1). */
describe('a cell whose containers may connect to nothing but what is allowed', function () {
  this.timeout(120_000);
  let world: NetworkBench;
  let allowedWorld: NetworkBench;
  let bench: StagingBench;

  before(async () => {
    [world, allowedWorld] = [await startNetworkBench(6), await startNetworkBench(7)];
    for (const port of [webPort, otherPort, rangePort])
      await world.serve(world.outside.namespacePath, port, `port${port}`);
    await allowedWorld.serve(allowedWorld.outside.namespacePath, webPort, 'allowed');
    bench = await StagingBench.start(() => ({
      containers: { deny_networks: ['0.0.0.0/0'], allow_networks: [`${allowedWorld.outside.ip}/32`] },
    }));
  });

  after(async () => {
    await bench?.stop();
    await allowedWorld?.close();
    await world?.close();
  });

  /** Asks every port from where it runs; a line each, `address:port answer`. */
  const asking = () => {
    const targets = [
      [allowedWorld.outside.ip, webPort],
      ...[webPort, otherPort, rangePort].map((port) => [world.outside.ip, port]),
      // The host itself stays closed, whatever is allowed.
      [world.outside.hostIp, bench.cell.directoryServerPort],
    ];
    const lines = targets.map(
      ([address, port]) =>
        `echo "${address}:${port} $( (exec 3<>/dev/tcp/${address}/${port} && head -c 8 <&3) 2> /dev/null || echo closed)"`,
    );
    return `#!/bin/bash\n${lines.join('\n')}\n`;
  };

  const answers = (open: { web?: boolean; other?: boolean; range?: boolean }) => [
    `${allowedWorld.outside.ip}:${webPort} allowed `,
    `${world.outside.ip}:${webPort} ${open.web ? `port${webPort}` : 'closed'}`,
    `${world.outside.ip}:${otherPort} ${open.other ? `port${otherPort}` : 'closed'}`,
    `${world.outside.ip}:${rangePort} ${open.range ? `port${rangePort}` : 'closed'}`,
    `${world.outside.hostIp}:${bench.cell.directoryServerPort} closed`,
  ];

  /** A buildpack that asks while it compiles, and whose app asks before it listens. */
  const askingBuildpack = () => ({
    compile: `cat > "$1/ask" <<'END'\n${asking()}END\nbash "$1/ask" > "$1/staged_answers"`,
    release:
      "printf -- '---\\ndefault_process_types:\\n  web: bash ask > answers; exec python3 -m http.server $PORT\\n'",
  });

  /** What the staging and the first instance could reach with these rules. */
  async function reached(stagingRules: Message[] | null, instanceRules: Message[]) {
    const app = randomUUID();
    const { peer } = bench;
    const mark = peer.mark;
    const message = await bench.message({
      app_id: app,
      admin_buildpacks: [await bench.admin('asking', askingBuildpack())],
      egress_network_rules: stagingRules,
      start_message: startMessage({ droplet: app, sha1: null, egress_network_rules: instanceRules }),
    });
    const [, second] = await bench.replies(bench.stage(message), 2);
    expect(second).not.to.have.property('error');
    const route = await peer.next('router.register', (data) => data.app === app, { since: mark, timeoutMs: 30_000 });
    const page = async (name: string) => {
      const text = await (await fetch(`http://${route.host}:${route.port}/${name}`)).text();
      return text.trimEnd().split('\n');
    };
    const result = { staging: await page('staged_answers'), instance: await page('answers') };
    peer.publish('dea.stop', { droplet: app });
    await bench.expectReleased(30_000);
    return result;
  }

  const tcp = (ports: string | null, more: Message = {}): Message => ({
    protocol: 'tcp',
    destination: world.outside.ip,
    ports,
    ...more,
  });

  it('reaches the allowed network alone without rules', async () => {
    expect(await reached(null, [])).to.deep.equal({ staging: answers({}), instance: answers({}) });
  });

  it('opens for a staging what its message allows, and for the instance what its own does', async () => {
    expect(await reached([tcp(`${webPort}`)], [tcp(`7100-7110, ${otherPort}`, { log: true })])).to.deep.equal({
      staging: answers({ web: true }),
      instance: answers({ other: true, range: true }),
    });
  });

  it('opens networks and ranges of addresses, and all ports where none is given', async () => {
    const { ip, hostIp } = world.outside;
    const all = answers({ web: true, other: true, range: true });
    const network = { protocol: 'tcp', destination: `${ip}/30`, ports: null };
    const range = { protocol: 'all', destination: `${hostIp}-${ip}` };
    expect(await reached([network], [range, range])).to.deep.equal({ staging: all, instance: all });
  });

  it('fails a staging for a bad rule with its text, and an instance so that it crashes', async () => {
    const [first, second] = await bench.outcome({ egress_network_rules: [{ destination: '0.0.0.0/0' }] });
    expect(first.error).to.equal('Invalid protocol in egress rule: ');
    expect(second.error).to.equal(first.error);
    const [empty] = await bench.outcome({ egress_network_rules: [tcp('')] });
    expect(empty.error).to.equal('Invalid ports in egress rule: ""');

    const { peer } = bench;
    const app = randomUUID();
    const mark = peer.mark;
    const [, staged] = await bench.outcome({
      app_id: app,
      start_message: startMessage({ droplet: app, sha1: null, egress_network_rules: [tcp(null, { protocol: 'TCP' })] }),
    });
    expect(staged).not.to.have.property('error');
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app, {
      since: mark,
      timeoutMs: 20_000,
    });
    expect(exited).to.include({ reason: 'CRASHED' });
  });
});
