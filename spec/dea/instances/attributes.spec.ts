import { expect } from 'chai';
import { environmentOf, parseInstanceAttributes } from '../../../lib/dea/instances/attributes.js';
import { InvalidMessageError } from '../../../lib/dea/messages.js';
import { startMessage } from '../../support/start-message.js';

function problemsOf(message: unknown): string[] {
  try {
    parseInstanceAttributes(message);
  } catch (error) {
    expect(error).to.be.instanceOf(InvalidMessageError);
    return (error as InvalidMessageError).problems;
  }
  throw new Error('the message was accepted');
}

describe('instance attributes', () => {
  it('translates the names of a start message', () => {
    const attributes = parseInstanceAttributes(startMessage({ index: 3, version: 'v', name: 'web', uris: ['a.b'] }));
    expect(attributes).to.include({
      instanceIndex: 3,
      applicationVersion: 'v',
      applicationName: 'web',
      ccPartition: 'default',
    });
    expect(attributes.applicationUris).to.deep.equal(['a.b']);
  });

  it('gives new ids: 32 hexadecimal digits, and 64 for the router', () => {
    const attributes = parseInstanceAttributes(startMessage());
    expect(attributes.instanceId).to.match(/^[0-9a-f]{32}$/);
    expect(attributes.privateInstanceId).to.match(/^[0-9a-f]{64}$/);
    expect(parseInstanceAttributes(startMessage()).instanceId).not.to.equal(attributes.instanceId);
  });

  it('lets the names of a snapshot record win', () => {
    const attributes = parseInstanceAttributes({
      ...startMessage({ index: 0, version: 'old' }),
      instance_id: 'f'.repeat(32),
      instance_index: 2,
      application_version: 'new',
    });
    expect(attributes).to.include({ instanceId: 'f'.repeat(32), instanceIndex: 2, applicationVersion: 'new' });
  });

  it('turns an application id into text and null URIs into none', () => {
    const attributes = parseInstanceAttributes(startMessage({ droplet: 17, uris: null }));
    expect(attributes.applicationId).to.equal('17');
    expect(attributes.applicationUris).to.deep.equal([]);
  });

  it('tolerates what Cloud Controllers of 2014 leave out', () => {
    const { stack, egress_network_rules, vcap_application, health_check_timeout, ...old } = startMessage();
    const attributes = parseInstanceAttributes({ ...old, limits: { mem: 64, disk: 64, fds: null } });
    expect(attributes).to.include({ stack: null, healthCheckTimeout: null });
    expect(attributes.limits.fds).to.equal(16384);
  });

  for (const field of ['droplet', 'version', 'name', 'limits', 'services', 'index', 'cc_partition']) {
    it(`refuses a message without ${field}, naming it`, () => {
      const names: Record<string, string> = {
        droplet: 'application_id',
        version: 'application_version',
        name: 'application_name',
        index: 'instance_index',
      };
      expect(problemsOf(startMessage({ [field]: undefined })).join()).to.contain(names[field] ?? field);
    });
  }

  for (const instanceId of ['../../etc', 'a/b', '.', '', '-x', 'a b']) {
    it(`refuses the instance id ${JSON.stringify(instanceId)}, which would be no file name`, () => {
      expect(() => parseInstanceAttributes({ ...startMessage(), instance_id: instanceId })).to.throw(/instance_id/);
    });
  }

  it('refuses mistyped fields', () => {
    expect(problemsOf(startMessage({ uris: 'web.example.com' })).join()).to.contain('application_uris');
    expect(problemsOf(startMessage({ limits: { mem: '64', disk: 1, fds: 1 } })).join()).to.contain('limits.mem');
    expect(problemsOf(startMessage({ env: [1] })).join()).to.contain('env.0');
    expect(problemsOf(startMessage({ services: [{ name: 'x' }] })).join()).to.contain('services.0.label');
    expect(problemsOf('hello').join()).to.contain('expected an object');
  });

  it('splits environment entries at the first =', () => {
    expect(environmentOf(['A=b=c', 'EMPTY=', 'NOEQ'])).to.deep.equal({ A: 'b=c', EMPTY: '', NOEQ: '' });
  });
});
