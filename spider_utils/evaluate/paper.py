"""What the paper reports (Ahmed et al. 2025): its table of scores, by sequence and class."""

from io import StringIO

import pandas as pd

# Ahmed et al. 2025, Table 2: validation data, split, tolerance of the NSD and unit of the ASD not stated.
PAPER_TABLE = pd.read_csv(
    StringIO("""sequence,class,iou,dice,asd,nsd,precision,recall,f1
T2_SPACE,background,.9906,.9950,.0543,.9951,.9951,.9955,.9953
T2_SPACE,discs,.9476,.9688,.0288,.9994,.9684,.9778,.9731
T2_SPACE,vertebrae,.9461,.9712,.0464,.9944,.9745,.9701,.9723
T2_SPACE,canal,.9501,.9671,.0361,.9963,.9761,.9727,.9744
T1,background,.9891,.9893,.0578,.9901,.9899,.9921,.9917
T1,discs,.9378,.9592,.0389,.9954,.9556,.9696,.9663
T1,vertebrae,.9367,.9634,.0489,.9912,.9711,.9697,.9678
T1,canal,.9445,.9628,.0372,.9893,.9711,.9692,.9725
T2,background,.9867,.9877,.0533,.9921,.9856,.9933,.9867
T2,discs,.9317,.9527,.0401,.9934,.9524,.9658,.9650
T2,vertebrae,.9331,.9647,.0488,.9919,.9703,.9671,.9666
T2,canal,.9439,.9625,.0371,.9856,.9689,.9697,.9709
""")
)
