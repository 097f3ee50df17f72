import { expect } from 'chai';
import { registryMessageSchema } from '../../lib/router/messages.js';

const diego = {
  host: '10.0.16.12',
  port: 61001,
  tls_port: 61003,
  uris: ['dora.apps.example.com'],
  app: 'f7a1a6f0-4f0f-4f7e-9a7c-0d7f3c1a2b34',
  private_instance_id: '0d2b7a5c-6e0e-4f2a-5d3b-9a11',
  private_instance_index: '0',
  server_cert_domain_san: '0d2b7a5c-6e0e-4f2a-5d3b-9a11',
  endpoint_updated_at_ns: 1480000000123456789n.toString(),
  tags: { component: 'route-emitter' },
  availability_zone: 'z1',
};

describe('a registry message', () => {
  it('of a route emitter is understood', () => {
    const text = JSON.stringify(diego).replace(/"(1480000000\d+)"/, '$1');
    const { uris, endpoint } = registryMessageSchema.parse(JSON.parse(text));
    expect(uris).to.deep.equal(['dora.apps.example.com']);
    expect(endpoint).to.include({ host: '10.0.16.12', port: 61003, isTls: true, instanceIndex: '0' });
  });

  it('of an agent is understood, with fields that routers ignore and a port that is not there any more', () => {
    const message = { dea: '0-5c1f', uris: ['a.io', 'b.io'], host: '10.0.16.40', port: null, tags: { component: 'd' } };
    const { uris, endpoint } = registryMessageSchema.parse(message);
    expect(uris).to.deep.equal(['a.io', 'b.io']);
    expect(endpoint).to.include({ port: 0, isTls: false, app: '', instanceId: '' });
  });

  const faults: [what: string, fields: Record<string, unknown>][] = [
    ['a port above 65535', { port: 65_536 }],
    ['a port that is text', { port: '80' }],
    ['uris that are no list', { uris: 'a.io' }],
    ['a uri that is no text', { uris: [1] }],
    ['a uri of any length', { uris: [`a.io${'/a'.repeat(100_000)}`] }],
    ['an index that is a number', { private_instance_index: 0 }],
    ['a tag that is no text', { tags: { a: 1 } }],
    ['a route service without https', { route_service_url: 'http://rs' }],
    ['options that are no mapping', { options: 'round-robin' }],
    ['an empty host', { host: '' }],
    ['a timestamp that is text', { endpoint_updated_at_ns: 'now' }],
  ];
  for (const [what, fields] of faults) {
    it(`is dropped as a whole for ${what}`, () => {
      expect(registryMessageSchema.safeParse({ ...diego, endpoint_updated_at_ns: 1, ...fields }).success).to.equal(
        false,
      );
    });
  }

  it('may ask for a way of balancing under both spellings of the key; an unknown one is as good as none', () => {
    const balancing = (options: Record<string, string>) =>
      registryMessageSchema.parse({ host: 'h', options }).endpoint.balancing;
    expect(balancing({ loadbalancing: 'least-connection' })).to.equal('least-connection');
    expect(balancing({ lb_algo: 'least-connection' })).to.equal('least-connection');
    expect(balancing({ loadbalancing: 'random' })).to.equal(undefined);
  });
});
