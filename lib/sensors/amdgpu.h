/* amdgpu.h - how long a card's counter is compared with its power when it is opened; tests of other things shorten it. */
#ifndef JL_AMDGPU_H
#define JL_AMDGPU_H

extern double amdgpu_look_s;

#endif
