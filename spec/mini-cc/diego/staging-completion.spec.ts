import { expect } from 'chai';
import { readCompletion } from '../../../lib/mini-cc/diego/staging-completion.js';

const facts = { buildpack_key: 'n_1', detected_buildpack: 'Node.js' };
const staged = {
  executionMetadata: '{}',
  startCommand: 'node app.js',
  buildpackKey: 'n_1',
  detectedBuildpack: 'Node.js',
};

describe('the end of a staging on Diego', () => {
  it('is read in the form of 2015', () => {
    const body = { execution_metadata: '{}', detected_start_command: { web: 'node app.js' }, lifecycle_data: facts };
    expect(readCompletion(body)).to.deep.equal({ kind: 'staged', staged });
  });

  it('is read in the form of 2016, also without types of processes', () => {
    const result = { execution_metadata: '{}', lifecycle_type: 'buildpack', lifecycle_metadata: facts };
    const process_types = { web: 'node app.js', worker: 'work' };
    expect(readCompletion({ result: { ...result, process_types } })).to.deep.equal({ kind: 'staged', staged });
    const without = { kind: 'staged', staged: { ...staged, startCommand: null } };
    expect(readCompletion({ result: { ...result, process_types: null } })).to.deep.equal(without);
  });

  it('is a failure with a reason and a text', () => {
    const error = { id: 'NoAppDetectedError', message: 'staging failed' };
    expect(readCompletion({ error })).to.deep.equal({ kind: 'failed', ...error });
  });

  const malformed: [what: string, body: unknown, field: RegExp][] = [
    ['a failure without a text', { error: { id: 'StagingError' } }, /error\.message/],
    ['a failure that is a text', { error: 'no' }, /^error/],
    ['a success without its metadata', { detected_start_command: {}, lifecycle_data: facts }, /execution_metadata/],
    [
      'a success of another lifecycle',
      { result: { execution_metadata: '', lifecycle_type: 'docker', lifecycle_metadata: facts } },
      /result\.lifecycle_type/,
    ],
    ['a list', [], /execution_metadata|object/],
    ['nothing', null, /object/],
  ];
  for (const [what, body, field] of malformed) {
    it(`is malformed when it is ${what}`, () => {
      const completion = readCompletion(body);
      expect(completion.kind).to.equal('malformed');
      expect(completion).to.have.property('problem').that.matches(field);
    });
  }
});
