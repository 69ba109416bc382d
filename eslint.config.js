import { existsSync } from 'node:fs'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

// typescript-eslint and not neostandard: its typed rules find what hurts this package most, a promise that nobody
// observes and a type that lies. Layout is left to the eye of the reviewer.
export default defineConfig(
  globalIgnores([
    '**/dist/', 'docs/', '.tap/', 'coverage/', '**/.snippets-*/', '**/.next/', '**/next-env.d.ts',
    // The document's examples as they stand there.
    'test/react/documented.tsx',
    // Without their dependencies the recipes have no types: npm run setup.
    ...existsSync(`${import.meta.dirname}/examples/recipes/node_modules`) ? [] : ['examples/recipes/']
  ]),
  {
    files: ['**/*.ts', '**/*.tsx', '**/*.js'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['*.js'] }, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-console': 'error',
      // It fires on every value whose type comes from ws, which has two type files for its two module systems.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      // `T[]` for simple elements, `Array<…>` where brackets would hide the type.
      '@typescript-eslint/array-type': ['error', { default: 'array-simple' }],
      // A schema and its static type share their name.
      '@typescript-eslint/no-redeclare': 'off',
      // Taken out of the rest by being named.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }]
    }
  },
  {
    files: ['examples/recipes/**/*.{ts,tsx}'],
    rules: {
      // As the users of a framework write it, in as few lines as can be.
      'no-console': 'off',
      '@typescript-eslint/require-await': 'off'
    }
  },
  // A runner awaits its tests itself.
  { files: ['examples/recipes/testing/test/**'], rules: { '@typescript-eslint/no-floating-promises': 'off' } },
  // Only vue-tsc knows the types of a .vue file.
  { files: ['examples/recipes/vue/src/main.ts'], rules: { '@typescript-eslint/no-unsafe-argument': 'off' } },
  // Scripts for a browser have no types.
  { files: ['examples/recipes/*/public/**/*.js'], extends: [tseslint.configs.disableTypeChecked] },
  {
    files: ['test/**/*.ts'],
    rules: {
      // A test says what it knows; the compiler can't know it.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // What came over the wire is read as the test expects it; a wrong expectation is what the test is for.
      '@typescript-eslint/no-explicit-any': 'off',
      // tap's assertions answer whether they held, and its subtests promises that tap itself awaits.
      '@typescript-eslint/no-floating-promises': 'off',
      // A subtest ends when its promise does, so it is async whether it awaits or not.
      '@typescript-eslint/require-await': 'off'
    }
  }
)
