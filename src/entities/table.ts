import { Entity, getMetadataArgsStorage } from 'typeorm';
import { COMMENTS, type TableName } from '../schema/comments';

/**
 * `@Entity` for one of our tables, with the comments that it and its columns have in the database.
 *
 * @param className what the class is called after a minifier as well: NestJS knows a repository by it
 */
export function Table(name: TableName, className: string): ClassDecorator {
  const { row, columns } = COMMENTS.tables[name];
  return (entity) => {
    Object.defineProperty(entity, 'name', { value: className, configurable: true });
    Entity(name, { comment: row })(entity);
    // The decorators of the properties have run before that of the class.
    for (const { options, propertyName } of getMetadataArgsStorage().filterColumns(entity)) {
      options.comment = columns[options.name ?? propertyName];
    }
  };
}
