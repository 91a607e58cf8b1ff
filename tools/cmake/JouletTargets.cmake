# joulet_room(NAME SOURCES... LIBS...): a static library of one room of the program, linked with what every room may use.
function(joulet_room name)
  cmake_parse_arguments(R "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${R_SOURCES})
  target_link_libraries(${name} PUBLIC ${R_LIBS} jl_platform jl_stats jl_base joulet m)
endfunction()

# joulet_embed(TARGET NAME FILE): compiles FILE in as `const struct data_file data_NAME`.
function(joulet_embed target name file)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.embed.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_CURRENT_SOURCE_DIR}/${file} -DOUT=${out} -DNAME=${name} -P ${CMAKE_SOURCE_DIR}/tools/cmake/embed.cmake
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${CMAKE_SOURCE_DIR}/tools/cmake/embed.cmake VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()

# joulet_test(NAME SOURCES... LIBS... [ENV...] [LABELS...] [TIMEOUT s]): one cmocka program, run by ctest and `make check T=NAME`.
# Exit code 77: skipped. Label `engine`: wants a real llama-server.
function(joulet_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LIBS;ENV;LABELS" ${ARGN})
  add_executable(test_${name} ${T_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${T_LIBS} cmocka jl_platform jl_stats jl_base Threads::Threads m)
  add_test(NAME ${name} COMMAND test_${name})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 1200) # ends what hangs; no test may fail because the machine is slow
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} ENVIRONMENT "${T_ENV}" SKIP_RETURN_CODE 77 LABELS "${T_LABELS}")
endfunction()

# joulet_fuzzer(NAME SOURCE LIBS...): built with -DJOULET_FUZZ=ON and clang into fuzz/; corpus in tests/fuzz/corpus/NAME. Target `fuzzers`: all.
function(joulet_fuzzer name source)
  if(JOULET_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE ${ARGN} jl_platform jl_stats jl_base)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    if(NOT TARGET fuzzers)
      add_custom_target(fuzzers)
    endif()
    add_dependencies(fuzzers fuzz_${name})
  endif()
endfunction()
