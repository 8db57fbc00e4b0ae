/* Loads a SavedModel and runs it once, by TensorFlow's C interface: no Python in the process.
 *
 *   serve MODEL [-s OP:INDEX COUNT FILE...]   string input (COUNT), one element a file
 *               [-f OP:INDEX ROWS FILE]       float32 input (ROWS, size / ROWS), raw numbers
 *               [-i OP:INDEX FILE]            int32 input (size), raw numbers
 *               [-o OP:INDEX FILE]            output: raw numbers; strings as a length (int64) and bytes each
 *
 * Prints the dimensions of each output on a line of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MOST 16

static void fail(const char *what, const char *reason) {
  fprintf(stderr, "%s: %s\n", what, reason);
  exit(1);
}

static void check(const char *what, TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, "cannot be read");
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char *content = malloc(*size + 1);
  if (fread(content, 1, *size, file) != *size) fail(path, "cannot be read");
  fclose(file);
  return content;
}

static TF_Output find(TF_Graph *graph, char *name) {
  char *colon = strrchr(name, ':');
  if (!colon) fail(name, "expected OP:INDEX");
  *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (!output.oper) fail(name, "no such operation in the graph");
  return output;
}

static TF_Tensor *strings(char **paths, int count) {
  int64_t dims[] = {count};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, dims, 1, count * sizeof(TF_TString));
  TF_TString *elements = TF_TensorData(tensor);
  for (int i = 0; i < count; i++) {
    size_t size;
    char *content = read_file(paths[i], &size);
    TF_TString_Init(&elements[i]);
    TF_TString_Copy(&elements[i], content, size);
    free(content);
  }
  return tensor;
}

static TF_Tensor *numbers(TF_DataType type, const char *path, int64_t rows) {
  size_t size;
  char *content = read_file(path, &size);
  int64_t dims[] = {rows ? rows : (int64_t)(size / 4), rows ? (int64_t)(size / 4) / rows : 0};
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rows ? 2 : 1, size);
  memcpy(TF_TensorData(tensor), content, size);
  free(content);
  return tensor;
}

static void write_tensor(const char *name, TF_Tensor *tensor, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fail(path, "cannot be written");
  printf("%s", name);
  for (int axis = 0; axis < TF_NumDims(tensor); axis++) printf(" %" PRId64, TF_Dim(tensor, axis));
  printf("\n");
  if (TF_TensorType(tensor) == TF_STRING) {
    TF_TString *elements = TF_TensorData(tensor);
    for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) {
      int64_t size = TF_TString_GetSize(&elements[i]);
      fwrite(&size, sizeof size, 1, file);
      fwrite(TF_TString_GetDataPointer(&elements[i]), 1, size, file);
    }
  } else {
    fwrite(TF_TensorData(tensor), 1, TF_TensorByteSize(tensor), file);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 2) fail("serve", "expected a model");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(argv[1], status);

  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *given[MOST], *answers[MOST] = {NULL};
  char *names[MOST], *paths[MOST];
  int num_inputs = 0, num_outputs = 0;
  for (int i = 2; i + 2 < argc && num_inputs < MOST && num_outputs < MOST;) {
    char kind = argv[i][1], *name = argv[i + 1];
    if (kind == 'o') {
      names[num_outputs] = strdup(name);
      paths[num_outputs] = argv[i + 2];
      outputs[num_outputs++] = find(graph, name);
      i += 3;
      continue;
    }
    inputs[num_inputs] = find(graph, name);
    if (kind == 's') {
      int count = atoi(argv[i + 2]);
      given[num_inputs++] = strings(argv + i + 3, count);
      i += 3 + count;
    } else if (kind == 'f') {
      given[num_inputs++] = numbers(TF_FLOAT, argv[i + 3], atoi(argv[i + 2]));
      i += 4;
    } else {
      given[num_inputs++] = numbers(TF_INT32, argv[i + 2], 0);
      i += 3;
    }
  }
  TF_SessionRun(session, NULL, inputs, given, num_inputs, outputs, answers, num_outputs, NULL, 0, NULL, status);
  check("run", status);
  for (int i = 0; i < num_outputs; i++) write_tensor(names[i], answers[i], paths[i]);
  return 0;
}
