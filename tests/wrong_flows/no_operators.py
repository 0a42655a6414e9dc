# expect: wrong: has no operators; decorate functions with @flow.source

import headwater as hw

flow = hw.Flow("wrong")
