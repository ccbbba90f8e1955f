import { type LoggerService } from '@nestjs/common';

/** Nest's log, for tests that read it: a line each, with its level and its context. */
export class NestLog implements LoggerService {
  readonly lines: { level: string; text: string; context: string }[] = [];

  log(text: unknown, ...more: unknown[]) {
    this.#add('log', text, more);
  }
  warn(text: unknown, ...more: unknown[]) {
    this.#add('warn', text, more);
  }
  error(text: unknown, ...more: unknown[]) {
    this.#add('error', text, more);
  }

  /** What one logger said. */
  of(context: string): string[] {
    return this.lines.filter((line) => line.context === context).map(({ level, text }) => `${level}: ${text}`);
  }

  /** The context comes last; before it may stand the stack of an error. */
  #add(level: string, text: unknown, more: unknown[]) {
    this.lines.push({
      level,
      text: [text, ...more.slice(0, -1)].filter(Boolean).join('\n'),
      context: String(more.at(-1)),
    });
  }
}
