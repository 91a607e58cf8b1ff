# Turns a text file into a C array: cmake -DIN= -DOUT= -DNAME= -P embed.cmake
file(READ "${IN}" hex HEX)
file(SIZE "${IN}" size)
get_filename_component(base "${IN}" NAME)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE "${OUT}" "/* made from ${base}; do not edit */\n#include \"data/data.h\"\nstatic const char bytes[] = {\n${bytes}0};\nconst struct data_file data_${NAME} = {\"${base}\", bytes, ${size}};\n")
