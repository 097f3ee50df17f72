import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { callGarden, type GardenProcess, RawConnection, startGarden } from '../../support/garden.js';

describe('containers over the Garden API', function () {
  this.timeout(120_000);
  let garden: GardenProcess;

  before(async () => {
    garden = await startGarden({ max_containers: 12, disable_privileged_containers: true });
  });

  after(() => garden.stop());

  afterEach(async () => {
    for (const handle of await listed('?garden.state=all')) await call('DELETE', `/containers/${handle}`);
  });

  const call = (method: string, path: string, body?: unknown) => callGarden(garden.socket, method, path, body);
  const create = async (spec: Record<string, unknown>) => {
    const { status, text, json } = await call('POST', '/containers', spec);
    expect(status, text).to.equal(200);
    return (json as { Handle: string }).Handle;
  };
  const listed = async (query = '') =>
    ((await call('GET', `/containers${query}`)).json as { Handles: string[] }).Handles;
  const isGone = (handle: string, timeoutMs = 5_000) =>
    eventually(async () => ((await listed()).includes(handle) ? undefined : true), { timeoutMs, what: 'its end' });
  const messageOf = (answer: { json: unknown }) => (answer.json as { Message: string }).Message;

  it('tell everything about themselves in the words that clients know', async () => {
    await create({ handle: 'told', properties: { b: '<&>', a: '1' }, netin: [{ container_port: 8080 }] });
    const info = (await call('GET', '/containers/told/info')).json as Record<string, unknown>;
    expect(Object.keys(info)).to.deep.equal([
      ...['State', 'Events', 'HostIP', 'ContainerIP', 'ContainerIPv6', 'ExternalIP', 'ContainerPath', 'ProcessIDs'],
      ...['Properties', 'MappedPorts'],
    ]);
    expect(info).to.include({ State: 'active', Events: null, ContainerIPv6: '', ProcessIDs: null });
    const [mapping] = info.MappedPorts as { HostPort: number; ContainerPort: number }[];
    expect(mapping).to.have.property('ContainerPort', 8080);
    expect(info.Properties).to.deep.equal({
      a: '1',
      b: '<&>',
      'garden.state': 'created',
      'garden.network.container-ip': info.ContainerIP,
      'garden.network.host-ip': info.HostIP,
      'garden.network.external-ip': info.ExternalIP,
      'garden.network.mapped-ports': JSON.stringify([mapping]),
    });
    const properties = await call('GET', '/containers/told/properties');
    expect(properties.text)
      .to.match(/^\{"a":"1","b":"\\u003c\\u0026\\u003e","garden\.network/)
      .and.to.match(/\}\n$/);
    expect(properties.headers).to.include({ 'content-type': 'application/json' });
    expect(properties.headers['content-length']).to.equal(String(Buffer.byteLength(properties.text)));
  });

  it('tell their consumption', async () => {
    await create({ handle: 'm', limits: { memory_limits: { limit_in_bytes: 67108864 }, pid_limits: { max: 50 } } });
    const metrics = (await call('GET', '/containers/m/metrics')).json as Record<string, Record<string, number>>;
    expect(Object.keys(metrics)).to.deep.equal([
      ...['MemoryStat', 'CPUStat', 'DiskStat', 'NetworkStat', 'PidStat', 'Age', 'CPUEntitlement'],
    ]);
    expect(metrics.PidStat).to.include({ Max: 50 });
    expect(metrics.PidStat!.Current).to.be.at.least(1);
    expect(Object.keys(metrics.MemoryStat!)).to.have.lengthOf(32);
    expect(metrics.DiskStat!.TotalBytesUsed).to.be.above(metrics.DiskStat!.ExclusiveBytesUsed!);
    expect(metrics.NetworkStat).to.have.keys('RxBytes', 'TxBytes');
    expect(metrics.Age).to.be.above(0);
    await call('PUT', '/containers/m/properties/network.healthcheck', { value: 'true' });
    expect((await call('GET', '/containers/m/metrics')).json).to.have.property('NetworkStat', null);
    expect((await call('GET', '/containers/bulk_metrics?handles=m')).json).to.have.nested.property(
      'm.Metrics.NetworkStat',
      null,
    );
  });

  it('tell their limits, and nothing of limits that are not set', async () => {
    await create({
      handle: 'limited',
      limits: {
        cpu_limits: { limit_in_shares: 20, weight: 10 },
        memory_limits: { limit_in_bytes: 67108864 },
        disk_limits: { byte_hard: 50000000, scope: 1 },
      },
    });
    await create({ handle: 'free' });
    const limit = async (handle: string, kind: string) =>
      (await call('GET', `/containers/${handle}/limits/${kind}`)).json;
    expect(await limit('limited', 'cpu')).to.deep.equal({ limit_in_shares: 10 });
    expect(await limit('limited', 'memory')).to.deep.equal({ limit_in_bytes: 67108864 });
    expect(await limit('limited', 'disk')).to.deep.equal({ byte_hard: 50000000, scope: 1 });
    for (const kind of ['cpu', 'memory', 'disk', 'bandwidth'])
      expect(await limit('free', kind), kind).to.deep.equal({});
    expect((await call('PUT', '/containers/free/limits/cpu', {})).status).to.equal(405);
  });

  it('are filtered by their properties, every one that is given', async () => {
    await create({ handle: 'b', properties: { foo: 'bar', n: '1' } });
    await create({ handle: 'a', properties: { foo: 'bar', n: '2' } });
    const { ContainerIP: address } = (await call('GET', '/containers/a/info')).json as { ContainerIP: string };
    expect(await listed()).to.deep.equal(['a', 'b']);
    expect(await listed('?foo=bar')).to.deep.equal(['a', 'b']);
    expect(await listed('?foo=bar&n=2')).to.deep.equal(['a']);
    expect(await listed('?n=1&n=2')).to.deep.equal(['b']);
    expect(await listed('?foo=baz')).to.deep.equal([]);
    expect(await listed('?garden.state=created')).to.deep.equal(['a', 'b']);
    expect(await listed('?garden.state=other')).to.deep.equal([]);
    expect(await listed(`?garden.network.container-ip=${address}`)).to.deep.equal(['a']);
  });

  it('are listed while they are made only by those who ask for all', async () => {
    const creation = create({ handle: 'new', properties: { p: 'q' } });
    await eventually(async () => ((await listed('?garden.state=all&p=q')).includes('new') ? true : undefined));
    await creation;
    expect(await listed('?p=q')).to.deep.equal(['new']);
  });

  it('answer bulk calls for each handle, known or not', async () => {
    await create({ handle: 'a' });
    const infos = await call('GET', '/containers/bulk_info?handles=zzz,a');
    expect(infos.status).to.equal(200);
    expect(Object.keys(infos.json as object)).to.deep.equal(['a', 'zzz']);
    expect(infos.json).to.have.nested.property('a.Info.State', 'active');
    expect(infos.json).to.have.nested.property('a.Err', null);
    const unknown = { Type: '', Message: 'unknown handle: zzz', Handle: '', ProcessID: '', Binary: '' };
    expect(infos.json).to.have.deep.nested.property('zzz.Err', unknown);
    expect(infos.json).to.have.nested.property('zzz.Info.State', '');
    const metrics = (await call('GET', '/containers/bulk_metrics?handles=a,zzz')).json;
    expect(metrics).to.have.nested.property('a.Err', null);
    expect(metrics).to.have.deep.nested.property('zzz.Err', unknown);
    for (const path of ['bulk_info', 'bulk_info?handles=', 'bulk_metrics', 'bulk_metrics?handles=']) {
      expect((await call('GET', `/containers/${path}`)).text, path).to.equal('{}\n');
    }
  });

  it('keep properties, whose names may be anything', async () => {
    await create({ handle: 'p' });
    const path = `/containers/p/properties/${encodeURIComponent('a/b c?ü')}`;
    expect((await call('PUT', path, { value: 'v' })).text).to.equal('{}\n');
    expect((await call('GET', path)).json).to.deep.equal({ value: 'v' });
    expect((await call('DELETE', path)).status).to.equal(200);
    expect((await call('DELETE', path)).status).to.equal(200);
    const missing = await call('GET', path);
    expect(missing.status).to.equal(500);
    expect(messageOf(missing)).to.equal('property does not exist: a/b c?ü');
  });

  it('go when nobody refers to them for the grace time, not while a client has a process', async () => {
    await create({ handle: 'g' });
    expect((await call('GET', '/containers/g/properties')).json).not.to.have.property('garden.grace-time');
    expect((await call('PUT', '/containers/g/grace_time', '60000000000')).text).to.equal('{}\n');
    expect((await call('GET', '/containers/g/properties/garden.grace-time')).json).to.deep.equal({
      value: '60000000000',
    });
    const connection = await RawConnection.request(garden.socket, 'POST /containers/g/processes', {
      path: 'sleep',
      args: ['1000'],
    });
    await connection.until(({ rest }) => rest.includes('process_id'));
    await call('PUT', '/containers/g/grace_time', '500000000');
    // Asking for many refers to none of them.
    const until = Date.now() + 1_500;
    await eventually(async () => {
      expect((await call('GET', '/containers/bulk_info?handles=g')).json).to.have.nested.property('g.Err', null);
      return Date.now() > until || undefined;
    });
    connection.close();
    await isGone('g');
  });

  it('go by the grace time they were made with, and stay when it is none', async () => {
    await create({ handle: 'short', grace_time: 300_000_000 });
    await create({ handle: 'never', grace_time: 300_000_000 });
    await create({ handle: 'long', grace_time: 9_000_000_000_000_000 });
    await call('PUT', '/containers/never/grace_time', '0');
    await isGone('short');
    expect(await listed()).to.deep.equal(['long', 'never']);
  });

  it('are destroyed once, whoever asks at the same time', async () => {
    await create({ handle: 'd' });
    const answers = await Promise.all([call('DELETE', '/containers/d'), call('DELETE', '/containers/d')]);
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 500]);
    expect(answers.map(({ text }) => text).sort()).to.deep.equal([
      '{"Type":"","Message":"container already being destroyed","Handle":"","ProcessID":"","Binary":""}\n',
      '{}\n',
    ]);
    const again = await call('DELETE', '/containers/d');
    expect(again.status).to.equal(404);
    expect(again.json).to.include({ Type: 'ContainerNotFoundError', Handle: 'd', Message: 'unknown handle: d' });
  });

  it('are unknown to every call in the same way', async () => {
    const calls: [string, string, unknown?][] = [
      ['GET', '/info'],
      ['GET', '/metrics'],
      ['DELETE', ''],
      ['PUT', '/stop', { kill: true }],
      ['PUT', '/files?user=root&destination=/tmp', ''],
      ['GET', '/files?user=root&source=/tmp'],
      ...['bandwidth', 'cpu', 'disk', 'memory'].map((kind): [string, string] => ['GET', `/limits/${kind}`]),
      ['POST', '/net/in', {}],
      ['POST', '/net/out', {}],
      ['POST', '/net/out/bulk', []],
      ['PUT', '/grace_time', '1'],
      ['GET', '/properties'],
      ['GET', '/properties/a'],
      ['PUT', '/properties/a', { value: 'x' }],
      ['DELETE', '/properties/a'],
    ];
    for (const [method, path, body] of calls) {
      const { status, json } = await call(method, `/containers/zzz${path}`, body);
      expect({ status, ...(json as object) }, `${method} ${path}`).to.deep.equal({
        ...{ status: 404, Type: 'ContainerNotFoundError', Message: 'unknown handle: zzz' },
        ...{ Handle: 'zzz', ProcessID: '', Binary: '' },
      });
    }
  });

  it('stop, and stay to be looked at', async () => {
    await create({ handle: 's' });
    const connection = await RawConnection.request(garden.socket, 'POST /containers/s/processes', {
      path: 'sleep',
      args: ['1000'],
    });
    await connection.until(({ rest }) => rest.includes('process_id'));
    expect((await call('PUT', '/containers/s/stop', { Kill: true })).text).to.equal('{}\n');
    expect((await connection.ended()).payloads.at(-1)).to.include({ exit_status: 137 });
    expect((await call('GET', '/containers/s/info')).json).to.have.property('State', 'stopped');
    expect((await call('GET', '/containers/s/properties/rundmc.state')).json).to.deep.equal({ value: 'stopped' });
  });

  it('tell of every kill by their memory limit', async () => {
    await create({ handle: 'oom', limits: { memory_limits: { limit_in_bytes: 64 * 1024 * 1024 } } });
    const connection = await RawConnection.request(garden.socket, 'POST /containers/oom/processes', {
      path: 'dd',
      args: ['if=/dev/zero', 'of=/dev/shm/x', 'bs=1M', 'count=80'],
    });
    expect((await connection.ended()).payloads.at(-1)).to.include({ exit_status: 137 });
    const { Events, State } = (await call('GET', '/containers/oom/info')).json as { Events: string[]; State: string };
    expect({ Events, State }).to.deep.equal({ Events: ['Out of memory'], State: 'active' });
  });

  it('are refused beyond the most that there may be, and told so', async () => {
    await Promise.all(Array.from({ length: 12 }, (_, index) => create({ handle: `n${index}` })));
    expect(messageOf(await call('POST', '/containers', {}))).to.equal('max containers reached');
    expect(messageOf(await call('POST', '/containers', { handle: 'n1' }))).to.equal("Handle 'n1' already in use");
    expect((await call('GET', '/capacity')).json).to.have.property('max_containers', 12);
    expect((await call('GET', '/capacity')).json).to.have.keys('memory_in_bytes', 'disk_in_bytes', 'max_containers');
  });

  it('are refused when they are privileged and that is not allowed', async () => {
    const refused = await call('POST', '/containers', { privileged: true });
    expect(messageOf(refused)).to.equal('privileged container creation is disabled');
    expect(await listed()).to.deep.equal([]);
  });

  it('are described by keys in any case; null is nothing, and what is unknown or comes behind does not matter', async () => {
    expect(await create({ HANDLE: 'upper', Unknown: { x: 1 }, grace_time: null, Limits: null, env: null })).to.equal(
      'upper',
    );
    expect((await call('POST', '/containers', '{"handle":"first"}{"handle":"second"} trailing')).json).to.deep.equal({
      Handle: 'first',
    });
    expect((await call('POST', '/containers', 'null')).json)
      .to.have.property('Handle')
      .that.matches(/^[0-9a-f-]{36}$/);
  });
});
