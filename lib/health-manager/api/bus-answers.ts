import type { Bus, BusMessage, Subscription } from '../../bus/bus.js';
import { answeringQueue, subjects } from '../messages.js';
import { type AppStateReport, readQuestion, readQuestions } from './app-state.js';

export interface BusAnswersOptions {
  bus: Bus;
  report: AppStateReport;
}

const maximumQuestions = 50;

/** What Cloud Controllers of before October 2014 ask on the bus (docs/protocol/health-manager.md §8.2). */
export class BusAnswers {
  #subscriptions: Subscription[] = [];

  constructor(private readonly options: BusAnswersOptions) {}

  start(): void {
    const { bus, report } = this.options;
    const answerOne = (message: BusMessage) =>
      answer(message, async () => {
        const question = readQuestion(message.data);
        return question ? report.ofOne(question) : undefined;
      });
    const answerMany = (message: BusMessage) =>
      answer(message, async () => {
        const questions = readQuestions(message.data);
        return questions && questions.length <= maximumQuestions ? report.ofMany(questions) : undefined;
      });
    const queue = { queue: answeringQueue };
    this.#subscriptions = [
      bus.subscribe(subjects.appState, answerOne, queue),
      bus.subscribe(subjects.appStateBulk, answerMany, queue),
    ];
  }

  /** Idempotent. */
  stop(): void {
    for (const subscription of this.#subscriptions.splice(0)) subscription.unsubscribe();
  }
}

async function answer(message: BusMessage, ask: () => Promise<Buffer | undefined>): Promise<void> {
  if (!message.hasReply) return;
  try {
    const told = await ask();
    message.reply(told ? JSON.parse(told.toString()) : {});
  } catch (error) {
    message.reply({});
    throw error;
  }
}
