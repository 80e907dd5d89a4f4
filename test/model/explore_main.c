#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "test/model/explore.h"
#include "test/model/model.h"
#include "test/model/rules.h"
int main(int argc, char **argv)
{
    model_bounds = (struct model_bounds){.name="x",.ids=1,.records=1,.rings=1,.copies=2,.crashes=2,.times=2};
    for (int i=1;i<argc;i++){ unsigned v; 
#define O(n) if (sscanf(argv[i], #n "=%u",&v)==1) model_bounds.n=v;
      O(ids) O(records) O(rings) O(copies) O(conflicts) O(crashes) O(purges) O(rotations) O(times) O(foreign) O(states_max)
      if(!strcmp(argv[i],"bad"))model_bounds.bad_requests=1;
      if(!strcmp(argv[i],"fp"))model_bounds.false_positives=1;
      if(!strcmp(argv[i],"young"))model_bounds.young=1;
      if (sscanf(argv[i],"rule=%u",&v)==1) model_rule_off=v;
    }
    struct model_result r; clock_t t=clock();
    model_explore(&r, stdout);
    printf("states %lu transitions %lu depth %u cut %lu full %d broken %s moves %u  %.2f s\n", r.states,r.transitions,r.depth,r.cut,r.full,r.broken?r.broken:"-",r.moves,(double)(clock()-t)/CLOCKS_PER_SEC);
    return 0;
}
