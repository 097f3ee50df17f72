import { expect } from 'chai';
import { readStagingReply } from '../../../lib/mini-cc/staging/staging-reply.js';
import { anApp } from '../../support/apps.js';

const app = anApp({ state: 'STARTED', staging_task_id: 'task' });
const read = (reply: unknown) => readStagingReply(app, 'task', reply);

describe('reading a reply of a stager', () => {
  it('takes one without an error as good', () => {
    const verdict = read({ task_id: 'task', task_streaming_log_url: 'http://x', error: null });
    expect(verdict).to.deep.include({ kind: 'good' });
  });

  it('ignores one of another task, of a deleted app and of a failed one, whatever it says', () => {
    expect(readStagingReply({ ...app, staging_task_id: 'other' }, 'task', { error: 'x' }).kind).to.equal('superseded');
    expect(readStagingReply(undefined, 'task', {}).kind).to.equal('superseded');
    expect(readStagingReply({ ...app, package_state: 'FAILED' }, 'task', {}).kind).to.equal('already-failed');
  });

  it('takes silence, nothing, text and rubbish as a staging error', () => {
    for (const reply of [undefined, null, 'no way', 17, { error: 5 }]) {
      expect(read(reply)).to.include({ kind: 'failed', reason: 'StagingError' });
    }
    expect(read('no way')).to.include({ description: 'failed to stage application:\nno way' });
  });

  it('prefers type and message of the error information', () => {
    const reply = {
      task_id: 'task',
      error: 'Script exited with status 1',
      error_info: { type: 'NoAppDetectedError', message: 'An application could not be detected' },
    };
    expect(read(reply)).to.deep.equal({
      kind: 'failed',
      reason: 'NoAppDetectedError',
      description: 'An application could not be detected',
    });
  });

  it('calls an unknown type of error a staging error', () => {
    expect(read({ error_info: { type: 'Sabotage', message: 'm' } })).to.include({ reason: 'StagingError' });
  });

  it('adds the log of the task to an error without information', () => {
    expect(read({ error: 'it broke', task_log: 'line 1' })).to.include({
      description: 'failed to stage application:\nit broke\nline 1',
    });
  });

  it('keeps credentials in quoted URLs from users', () => {
    const verdict = read({ error: 'Error downloading http://staging:s3cret@10.0.0.1/x' });
    expect(verdict).to.include({ description: 'failed to stage application:\nError downloading http://10.0.0.1/x' });
  });
});
